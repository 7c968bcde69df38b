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

from rover.flapping import Flapping
from rover.model import Changes, EntityKey, Process, ProcessKey, Reason, Report, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


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


class Table:
    """Live processes by pid, and the entities they claim."""

    def __init__(self) -> None:
        self._rows: dict[int, Row] = {}
        self._claims: dict[EntityKey, list[Report] | tuple[Report]] = {}
        """What each claimant would be reported as, the oldest first; no two are of one age. Most
        entities have one, and a tuple takes half the room of a list."""
        self._published: dict[EntityKey, Report | None] = {}
        """What was told of each entity last; None where it did not arrive."""
        self._touched: set[EntityKey] = set()
        self._flapping: Flapping[EntityKey] = Flapping()
        """Entities whose facts change too often, with the same process leading."""
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
            if claims is None:
                self._claims[key] = (report,)
                self._touched.add(key)
                continue
            at = _place(claims, process.key)
            if not _is_of(claims, at, process.key):
                self._several(key).insert(at, report)
            elif claims[at] != report:
                self._several(key)[at] = report
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

    def changes(self, now: float = 0.0) -> Changes:
        """Return what the backend must be told since the last call.

        Who leads an entity is told at once. Other facts of an entity are, until they change too
        often: a title that carries a counter waits, and its newest form is told in the end.

        Args:
            now: time.monotonic().
        """
        announced, withdrawn = [], []
        self._touched.update(self._flapping.due(now))
        for key in self._touched:
            claims = self._claims.get(key)
            report = claims[0] if claims else None
            if report is None:
                self._flapping.forget(key)
                if key in self._published:
                    del self._published[key]
                    withdrawn.append(key)
            elif self._is_news(key, report, now):
                self._published[key] = report
                announced.append(report)
        self._touched.clear()
        return Changes(tuple(announced), tuple(withdrawn))

    def tell_again(self, keys: Iterable[EntityKey]) -> None:
        """Have entities among the next changes of which the latest word did not arrive."""
        for key in keys:
            self._published[key] = None
            self._touched.add(key)

    def take_out_all(self) -> list[Row]:
        """Empty the table and return its rows, to be put in again one by one.

        So a defect is mended that left rows and claims apart. What was told of entities stays, and
        all of them are looked at by the next `changes`.
        """
        rows = list(self._rows.values())
        self._rows.clear()
        self._claims.clear()
        self.reasons.clear()
        self._touched.update(self._published)
        return rows

    def next_change(self) -> float | None:
        """Return the time.monotonic() at which `changes` tells what waits; None: nothing does."""
        return self._flapping.next_due()

    def held_until(self, key: EntityKey) -> float | None:
        """Return the time.monotonic() until which an entity's facts are not told again."""
        return self._flapping.held_until(key)

    @property
    def times_held(self) -> int:
        """How often facts of an entity were held back since the start."""
        return self._flapping.times

    def why(self, pid: int) -> Why | None:
        """Explain one process; None where no live process has this pid."""
        row = self._rows.get(pid)
        if row is None:
            return None
        leads, follows = [], []
        for report in row.verdict.reports:
            leader = self._claims[report.entity.key][0]
            if leader.process.pid == pid:
                leads.append(report)
            else:
                follows.append((report, leader.process.pid))
        reason = row.verdict.reason
        if reason is Reason.REPORTED and not leads:
            reason = Reason.FOLLOWS
        return Why(row.process, reason, row.verdict.detail, tuple(leads), tuple(follows))

    def _is_news(self, key: EntityKey, report: Report, now: float) -> bool:
        """Tell whether the backend must hear of a report now."""
        published = self._published.get(key)
        if published is None or published.process.key != report.process.key:
            self._flapping.drop(key)
            return True
        if _told(published) == _told(report):
            self._flapping.drop(key)
            self._published[key] = report
            return False
        return self._flapping.passes(key, now)

    def _release(self, key: EntityKey, process: ProcessKey) -> None:
        claims = self._claims[key]
        at = _place(claims, process)
        if at == 0:
            self._touched.add(key)
        if len(claims) > 1:
            del self._several(key)[at]
        else:
            del self._claims[key]

    def _several(self, key: EntityKey) -> list[Report]:
        """Give an entity's claimants in a form that can be changed."""
        claims = self._claims[key]
        if isinstance(claims, tuple):
            claims = self._claims[key] = list(claims)
        return claims


def _told(report: Report) -> tuple[object, ...]:
    """Give what the backend hears of an entity, beside the process that leads it."""
    return report.entity, report.container, report.properties, report.process.told


def _age(report: Report) -> tuple[int, int]:
    key = report.process.key
    return key.start_ticks, key.pid


def _place(claims: Sequence[Report], process: ProcessKey) -> int:
    """Find where a process's claim stands, or would stand."""
    return bisect_left(claims, (process.start_ticks, process.pid), key=_age)


def _is_of(claims: Sequence[Report], at: int, process: ProcessKey) -> bool:
    return at < len(claims) and claims[at].process.key == process
