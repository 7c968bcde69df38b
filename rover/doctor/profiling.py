"""Whether processes can be profiled here, and what profiles lack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rover.doctor.checks import Check, ok, warn
from rover.doctor.rights import PARANOID, RIGHTS, SYSTEM_CALLS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rover.profiling.gaps import Gap

PROFILING: Final = "profiling"


def checks(*, active: bool, clock: str, gaps: Sequence[Gap]) -> Iterator[Check]:
    """Judge it.

    Args:
        active: `profiling.active`.
        clock: why ticks of the CPU clock cannot be had; empty where they can.
        gaps: what profiles of this process lack.
    """
    if not active:
        yield ok(PROFILING, "turned off (profiling.active)")
        return
    if clock:
        says = f"OFF_CPU alone: {clock}"
        mend = "sysctl kernel.perf_event_paranoid=2 on the host, or CAP_SYS_ADMIN"
        yield warn(PROFILING, says, mend, RIGHTS, SYSTEM_CALLS, PARANOID)
    for gap in gaps:
        yield warn(f"{PROFILING}: {gap.subject}", f"without {gap.lacks}", gap.remedy, RIGHTS)
    if not clock and not gaps:
        yield ok(PROFILING, "ON_CPU and OFF_CPU, with all names that files have")
