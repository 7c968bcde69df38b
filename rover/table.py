"""What is known now: live processes, what each is called, and who leads each entity.

The discovery thread owns the one table; nobody else touches it. An entity is reported for one
process at a time: the oldest that claims it leads, the others follow in the order of their start.
Every operation costs the same however many processes there are, up to the logarithm of an entity's
own followers.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from rover.model import Changes, EntityKey, Process, ProcessKey, Reason, Report, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator


class Row(NamedTuple):
    """One live process with what the finders say of it."""

    process: Process
    verdict: Verdict


class Why(NamedTuple):
    """The answer to "why is this process shown so, or not at all?"."""

    process: Process
    reason: Reason
    detail: str
    leads: tuple[Report, ...]
    """Entities that this process is reported as."""
    follows: tuple[tuple[Report, int], ...]
    """Entities that another process is reported as, with that process's pid."""


@dataclass(slots=True)
class _Claims:
    """Who claims one entity."""

    reports: dict[ProcessKey, Report]
    order: list[tuple[int, int]]
    """Heap of (start ticks, pid); keys that left are dropped when they come to the top."""

    def leader(self) -> ProcessKey | None:
        while self.order:
            start_ticks, pid = self.order[0]
            key = ProcessKey(pid, start_ticks)
            if key in self.reports:
                return key
            heapq.heappop(self.order)
        return None

    def join(self, key: ProcessKey, report: Report) -> None:
        if key not in self.reports:
            heapq.heappush(self.order, (key.start_ticks, key.pid))
        self.reports[key] = report
        if len(self.order) > 2 * len(self.reports) + 8:
            # many came and went below a leader that stays
            self.order = [(known.start_ticks, known.pid) for known in self.reports]
            heapq.heapify(self.order)


class Table:
    """Live processes by pid, and the entities they claim."""

    def __init__(self) -> None:
        self._rows: dict[int, Row] = {}
        self._claims: dict[EntityKey, _Claims] = {}
        self._published: dict[EntityKey, Report] = {}
        self._touched: set[EntityKey] = set()
        self.reasons: Counter[Reason] = Counter()
        """How many processes have each verdict."""

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows.values())

    @property
    def entities(self) -> int:
        """How many entities are reported."""
        return len(self._published)

    def pids(self) -> set[int]:
        """Return the pids of all rows."""
        return set(self._rows)

    def get(self, pid: int) -> Row | None:
        """Return the live process with this pid, if any is known."""
        return self._rows.get(pid)

    def put(self, process: Process, verdict: Verdict) -> None:
        """Add a process or replace what was known of it; one that had its pid before is removed."""
        known = self._rows.get(process.pid)
        if known is not None and known.process.key != process.key:
            self.remove(process.pid)
            known = None
        claimed = {report.entity.key: report for report in verdict.reports}
        for report in known.verdict.reports if known else ():
            if report.entity.key not in claimed:
                self._release(report.entity.key, process.key)
        for key, report in claimed.items():
            claims = self._claims.get(key)
            if claims is None:
                claims = self._claims[key] = _Claims({}, [])
            if claims.reports.get(process.key) != report:
                claims.join(process.key, report)
                self._touched.add(key)
        if known:
            self.reasons[known.verdict.reason] -= 1
        self.reasons[verdict.reason] += 1
        self._rows[process.pid] = Row(process, verdict)

    def remove(self, pid: int) -> Process | None:
        """Forget a process that has ended; return what it was."""
        row = self._rows.pop(pid, None)
        if row is None:
            return None
        self.reasons[row.verdict.reason] -= 1
        for report in row.verdict.reports:
            self._release(report.entity.key, row.process.key)
        return row.process

    def changes(self) -> Changes:
        """Return what the backend must be told since the last call."""
        announced, withdrawn = [], []
        for key in self._touched:
            report = self._leading(key)
            if report is None:
                if self._published.pop(key, None) is not None:
                    withdrawn.append(key)
            elif self._published.get(key) != report:
                self._published[key] = report
                announced.append(report)
        self._touched.clear()
        return Changes(tuple(announced), tuple(withdrawn))

    def why(self, pid: int) -> Why | None:
        """Explain one process; None where no live process has this pid."""
        row = self._rows.get(pid)
        if row is None:
            return None
        leads, follows = [], []
        for report in row.verdict.reports:
            leader = self._claims[report.entity.key].leader()
            if leader is None or leader == row.process.key:
                leads.append(report)
            else:
                follows.append((report, leader.pid))
        reason = row.verdict.reason
        if reason is Reason.REPORTED and not leads:
            reason = Reason.FOLLOWS
        return Why(row.process, reason, row.verdict.detail, tuple(leads), tuple(follows))

    def _leading(self, key: EntityKey) -> Report | None:
        claims = self._claims.get(key)
        leader = claims.leader() if claims else None
        return claims.reports[leader] if claims and leader else None

    def _release(self, key: EntityKey, process: ProcessKey) -> None:
        claims = self._claims[key]
        was_leader = claims.leader() == process
        del claims.reports[process]
        if was_leader:
            self._touched.add(key)
        if not claims.reports:
            del self._claims[key]
