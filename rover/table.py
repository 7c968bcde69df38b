"""What is known now: live processes, what each is called, and who leads each entity.

The discovery thread owns the one table; nobody else touches it. An entity is reported for one
process at a time: the oldest that claims it leads, the others follow in the order of their start.
Every operation costs the same however many processes there are, up to a search and a shift among
an entity's own followers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
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


class _Claim(NamedTuple):
    """One process's claim to an entity; claims sort by age, the oldest leads."""

    start_ticks: int
    pid: int
    report: Report


class Table:
    """Live processes by pid, and the entities they claim."""

    def __init__(self) -> None:
        self._rows: dict[int, Row] = {}
        self._claims: dict[EntityKey, list[_Claim]] = {}
        """Sorted: no two processes have the same start and pid."""
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
        """How many entities a live process leads."""
        return len(self._claims)

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
            claim = _Claim(process.key.start_ticks, process.pid, report)
            if claims is None:
                self._claims[key] = [claim]  # no room for more: most entities have but one
                self._touched.add(key)
                continue
            at = _place(claims, process.key)
            if not _is_of(claims, at, process.key):
                claims.insert(at, claim)
            elif claims[at].report != report:
                claims[at] = claim
            else:
                continue
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
            claims = self._claims.get(key)
            report = claims[0].report if claims else None
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
            leader = self._claims[report.entity.key][0]
            if leader.pid == pid:
                leads.append(report)
            else:
                follows.append((report, leader.pid))
        reason = row.verdict.reason
        if reason is Reason.REPORTED and not leads:
            reason = Reason.FOLLOWS
        return Why(row.process, reason, row.verdict.detail, tuple(leads), tuple(follows))

    def _release(self, key: EntityKey, process: ProcessKey) -> None:
        claims = self._claims[key]
        at = _place(claims, process)
        del claims[at]
        if at == 0:
            self._touched.add(key)
        if not claims:
            del self._claims[key]


def _place(claims: list[_Claim], process: ProcessKey) -> int:
    """Find where a process's claim stands, or would stand."""
    return bisect_left(claims, (process.start_ticks, process.pid))


def _is_of(claims: list[_Claim], at: int, process: ProcessKey) -> bool:
    return at < len(claims) and claims[at][:2] == (process.start_ticks, process.pid)
