"""What a census comes to in a few numbers, for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rover.model import Reason
from rover.probes.layout import Counter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rover.discovery.census import Census


@dataclass(frozen=True, slots=True)
class Summary:
    """A census at one moment; counts are since the start where they count what happened."""

    processes: int
    kernel_threads: int
    entities: int
    reasons: Mapping[str, int]
    """Processes by the sentence that a user reads; those that are none are left out."""
    defects: int
    """Of them, those on which the agent itself fails."""
    events: Mapping[str, int]
    """What the kernel's programs have seen, by kind."""
    lost: Mapping[str, int]
    """Events or places that were not to be had, by where; as ``rover_lost_total``."""
    repairs: Mapping[str, int]
    """Rows that reconciles put right."""
    late: int
    """Processes that could not be read in time."""


def summary_of(census: Census) -> Summary:
    """Count; called by the census's own thread."""
    did, kernel, reasons = census.figures, census.kernel, census.table.reasons
    return Summary(
        processes=len(census.table),
        kernel_threads=len(census.kernel_threads),
        entities=census.table.entities,
        reasons={each.value: reasons[each] for each in Reason if reasons[each]},
        defects=reasons[Reason.DEFECT],
        events={
            "exec": kernel[Counter.EXEC],
            "fork": kernel[Counter.FORK],
            "exit": kernel[Counter.EXIT],
        },
        lost={
            "pending": kernel[Counter.LOST_PENDING],
            "ring": kernel[Counter.LOST_EVENT],
            "tracked": did.unfollowed,
            "recursion": did.skipped,
        },
        repairs={
            "new": did.repairs_new,
            "gone": did.repairs_gone,
            "changed": did.repairs_changed,
        },
        late=census.late,
    )
