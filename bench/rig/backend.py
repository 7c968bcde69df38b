"""What the embedded backend was told, beside what runs."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from bench.rig.sleepers import PREFIX
from rover.backend import Rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rover.backend import EmbeddedBackend, StoredProcess, Violation

BROKEN_BY_LATE_CALLS = frozenset({Rule.ENTITY_OF_TWO_PIDS})
"""A call that ran into its deadline may still take effect after newer ones."""


def accepted(server: EmbeddedBackend) -> dict[int, float]:
    """Return when each pid was first accepted, as time.monotonic()."""
    return {pid: stamp.monotonic for (pid, _), stamp in server.state.times().items()}


def wait_for_pids(server: EmbeddedBackend, pids: set[int], timeout: float = 60) -> dict[int, float]:
    """Wait until all pids are accepted, by looking: a snapshot at every change would cost more."""
    deadline = time.monotonic() + timeout
    while missing := pids - (seen := accepted(server)).keys():
        if time.monotonic() > deadline:
            raise TimeoutError(
                f"{len(missing)} of {len(pids)} pids not accepted: {sorted(missing)[:9]}"
            )
        time.sleep(0.1)
    return seen


def difference(
    server: EmbeddedBackend, living: Mapping[int, str], since: float, beat: float
) -> tuple[str, ...]:
    """Compare what beats with what runs, as far as it is of this program's making.

    Args:
        server: what the backend holds.
        living: names of the processes by pid; one of each name must have beaten since then.
        since: time.monotonic().
        beat: seconds between two beats; what has ended must not have beaten for so long.

    Returns:
        A line for each name that is missing, for each that is held and has ended, and for each
        of whatever making that is held twice.
    """
    rows = server.state.snapshot().processes
    recent = [row for row in rows if beats(row, max(since, time.monotonic() - beat))]
    fresh = {row.entity.process for row in rows
             if beats(row, since) and (row.pid, row.entity.process) in living.items()}  # fmt: skip
    times = Counter(row.pid for row in recent)
    gone = [row for row in recent
            if row.entity.process.startswith(PREFIX) and row.pid not in living]  # fmt: skip
    return (
        *(f"{name}: not held" for name in set(living.values()) - fresh),
        *(f"{row.pid} {row.entity.process}: held and gone" for row in gone),
        *(f"{pid}: held {amount} times" for pid, amount in times.items() if amount > 1),
    )


def broken_rules(violations: Iterable[Violation]) -> tuple[str, ...]:
    """Return a line for each that is not explained by a call that took effect late."""
    return tuple(str(each) for each in violations if each.rule not in BROKEN_BY_LATE_CALLS)


def beats(row: StoredProcess, since: float) -> bool:
    return bool(row.visible and row.last_ping and row.last_ping.monotonic > since)
