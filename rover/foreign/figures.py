"""What foreign reads count, as figures for the metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rover.metrics import counter, gauge

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from rover.foreign.reads import ForeignReads


def figures_of(reads: ForeignReads) -> list[Metric]:
    """Return all of them."""
    counts = reads.figures()
    return [
        counter(
            "rover_foreign_reads",
            "Children started to read what others may hold up, reads that were held up and given"
            " up, answers that came too late, and requests that had no answer for a defect.",
            "what",
            {
                "child_started": counts.children_started,
                "held_up": counts.held_up,
                "late": counts.late,
                "defect": counts.defects,
            },
        ),
        gauge(
            "rover_foreign_reads_avoided",
            "Users, mount namespaces and processes that are not read for a while, for one of them"
            " held a read up.",
            "",
            {"": counts.left_out},
        ),
        gauge(
            "rover_foreign_reads_left_behind",
            "Children that hang in the kernel and cannot be ended; with 4, reading pauses.",
            "",
            {"": counts.left_behind},
        ),
    ]
