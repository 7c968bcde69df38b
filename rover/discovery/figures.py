"""The metrics of discovery, gathered by the thread that owns what they tell of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rover.discovery.renaming import FACTS
from rover.metrics import counter, gauge
from rover.probes.layout import Counter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prometheus_client.core import Metric

    from rover.discovery.census import Census


def figures_of(census: Census, judge: Mapping[str, Mapping[str, int]]) -> list[Metric]:
    """Return all figures of a census and of what its judge counts.

    Args:
        census: read by its own thread.
        judge: counts by subject, as `Judge.figures` gives them.
    """
    did, kernel, table = census.figures, census.kernel, census.table
    looks = census.looks
    return [
        counter(
            "rover_events",
            "Events that the kernel's programs have seen.",
            "kind",
            {
                "exec": kernel[Counter.EXEC],
                "fork": kernel[Counter.FORK],
                "exit": kernel[Counter.EXIT],
            },
        ),
        counter(
            "rover_unsettled_processes",
            "Processes that ended before they settled: they cost the agent nothing.",
            "",
            {"": kernel[Counter.UNSETTLED]},
        ),
        counter(
            "rover_settled_processes",
            "Processes that lived for the settle time and were looked at, or gone at that moment.",
            "result",
            {"read": did.settled - did.vanished, "gone": did.vanished},
        ),
        counter("rover_proc_reads", "Processes read in /proc.", "", {"": census.reads}),
        counter(
            "rover_lost",
            "Events or places that were not to be had, by where; a reconcile heals each.",
            "place",
            {
                "pending": kernel[Counter.LOST_PENDING],
                "ring": kernel[Counter.LOST_EVENT],
                "tracked": did.unfollowed,
                "recursion": did.skipped,
            },
        ),
        counter(
            "rover_reconciles",
            "Comparisons of the table with /proc; deep ones read each process's start time.",
            "depth",
            {"shallow": did.reconciles - did.deep_reconciles, "deep": did.deep_reconciles},
        ),
        counter(
            "rover_reconcile_repairs",
            "Rows that a reconcile put right: what it found that no event had told.",
            "repair",
            {"new": did.repairs_new, "gone": did.repairs_gone, "changed": did.repairs_changed},
        ),
        counter("rover_exits", "Ends of known processes that were told.", "", {"": did.exits}),
        counter("rover_execs", "Execs of known processes.", "", {"": did.execs}),
        counter(
            "rover_second_looks",
            "Looks at known processes: it has not run, or its facts were compared.",
            "result",
            {"idle": looks.looks - looks.compared, "compared": looks.compared},
        ),
        counter(
            "rover_changed_facts",
            "Facts that second looks found different.",
            "fact",
            {fact: looks.changed[fact] for fact in FACTS},
        ),
        counter(
            "rover_held_changes",
            "Changes that were not taken at once, for their like came too often.",
            "of",
            {"names": looks.names.times_held, "facts": table.times_held},
        ),
        gauge("rover_young_processes", "Processes looked at often.", "", {"": looks.young}),
        gauge("rover_entities", "Entities led by a live process.", "", {"": table.entities}),
        gauge(
            "rover_processes",
            "Live processes by why they are reported or not; followers count as reported.",
            "reason",
            {reason.name.lower(): amount for reason, amount in table.reasons.items()},
        ),
        gauge(
            "rover_kept_bytes",
            "Memory for what processes chose themselves, by kind; beyond the limit, and beyond half"
            " of it for one user, texts are cut short.",
            "kind",
            census.budget.kept,
        ),
        counter(
            "rover_shortened_processes",
            "Processes whose texts were cut short because that limit was reached.",
            "",
            {"": census.budget.shortened},
        ),
        gauge("rover_kernel_threads", "Live kernel threads.", "", {"": len(census.kernel_threads)}),
        *(
            gauge(f"rover_{subject}", f"What the {subject} knows of.", "what", dict(counts))
            for subject, counts in judge.items()
        ),
    ]
