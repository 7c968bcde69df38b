"""What it means that a known process is different: which facts, and whether it may be renamed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from rover.flapping import Flapping
from rover.model import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rover.model import EntityKey, Process, ProcessKey, Verdict
    from rover.table import Table, Why

FACTS: Final = {
    "command_line": ("arguments",),
    "name": ("name",),
    "user": ("uid",),
    "cgroup": ("cgroup",),
    "directory": ("cwd",),
    "executable": ("exe",),
    "namespace": ("mount_namespace", "pid_namespace"),
    "parent": ("ppid",),
}
"""Facts of a process that may change while it lives, by the name that they have in the metrics."""


def differences(before: Process, now: Process) -> list[str]:
    """Name the facts in which two records of a process differ."""
    return [
        what
        for what, fields in FACTS.items()
        if any(getattr(before, field) != getattr(now, field) for field in fields)
    ]


class Names:
    """Lets a process be renamed, but not all the time.

    Each new name is a new entity at the backend, for ever, and the former one is withdrawn.
    """

    def __init__(self) -> None:
        self._flapping: Flapping[ProcessKey] = Flapping()

    def __len__(self) -> int:
        return len(self._flapping)

    @property
    def times_held(self) -> int:
        """How often new names were not taken since the start."""
        return self._flapping.times

    def steady(self, process: Process, before: Verdict, verdict: Verdict, now: float) -> Verdict:
        """Give the verdict that counts: the new one, or the names before with the facts of now.

        Args:
            process: as it is now.
            before: its verdict until now.
            verdict: what it would be called now.
            now: time.monotonic().
        """
        if _names(before) == _names(verdict):
            self._flapping.drop(process.key)
            return verdict
        # no name is held back for the sake of a defect: that is over
        if before.reason is Reason.DEFECT or self._flapping.passes(process.key, now):
            return verdict
        return replace(
            before, reports=tuple(replace(report, process=process) for report in before.reports)
        )

    def due(self, now: float) -> Iterable[ProcessKey]:
        """Give the processes that are to be judged again, for their new names may pass now."""
        return self._flapping.due(now)

    def next_due(self) -> float | None:
        """Return the time.monotonic() at which `due` has something to give; None: never."""
        return self._flapping.next_due()

    def forget(self, key: ProcessKey) -> None:
        """Drop a process that has ended."""
        self._flapping.forget(key)

    def explain(self, why: Why, table: Table, now: float) -> Why:
        """Add to the story of a process what of it is held back."""
        waits = [("its names change", self._flapping.held_until(why.process.key))]
        waits += [
            ("what is told of it changes", table.held_until(report.entity.key))
            for report in why.leads
        ]
        told = [
            f"{what} too often, the newest is taken in {max(0.0, until - now):.0f} s"
            for what, until in waits
            if until is not None
        ]
        return why._replace(detail="; ".join((*filter(None, (why.detail,)), *told)))


def _names(verdict: Verdict) -> set[EntityKey]:
    return {report.entity.key for report in verdict.reports}
