"""What is known now: live processes, what each is called, and who leads each entity.

The discovery thread owns the one table; nobody else touches it. An entity is reported for one
process at a time: the oldest that claims it leads, the others follow in the order of their start.
A claim that a process's own user has written (its metadata) comes after all that the agent found
itself, and among such claims the user who had the entity first keeps it: nobody can take over what
runs as another. Every operation costs the same however many processes there are, up to a search and
a shift among an entity's own followers; where the user changes who has it, one pass over them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from rover.flapping import Flapping
from rover.model import Changes, EntityKey, Process, Reason, Report, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rover.model import ProcessKey


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
        self._claims: dict[EntityKey, list[Report] | tuple[Report, ...]] = {}
        """What each claimant would be reported as, in the order of `_place`; no two are of one age.
        Most entities have one, and a tuple takes half the room of a list."""
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
                self._release(report.entity.key, report)
        for key, report in claimed.items():
            claims = self._claims.get(key)
            if claims is None:
                # mostly one report is all: one object then serves as both
                alone = len(verdict.reports) == 1
                self._claims[key] = verdict.reports if alone else (report,)
                self._touched.add(key)
                continue
            before = _claim_of(known, key)
            if before is not None and _rank(before) == _rank(report):
                at = _place(claims, report)
                if claims[at] == report:
                    continue
                self._several(key)[at] = report
            else:
                if before is not None:
                    self._release(key, before)
                self._insert(key, report)
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
            self._release(report.entity.key, report)
        return row.process

    def changes(self, now: float = 0.0) -> Changes:
        """Return what the backend must be told since the last call.

        Who leads an entity is told at once. Other facts of an entity are, until they change too
        often: a title that carries a counter waits, and its newest form is told in the end.

        Args:
            now: time.monotonic().
        """
        announced, withdrawn, again = [], [], set()
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
                if key in self._published:
                    again.add(key)
                self._published[key] = report
                announced.append(report)
        self._touched.clear()
        return Changes(tuple(announced), tuple(withdrawn), frozenset(again))

    def tell_again(self, keys: Iterable[EntityKey]) -> None:
        """Have entities among the next changes of which the latest word did not arrive."""
        for key in keys:
            self._published[key] = None
            self._touched.add(key)

    def claimants(self, key: EntityKey) -> tuple[ProcessKey, ...]:
        """Name the live processes that are one entity, its leader first.

        Those that merely say so themselves are of it only where they run as its leader does.
        """
        claims = self._claims.get(key)
        if claims is None:
            return ()
        return tuple(
            each.process.key
            for each in claims
            if not each.own_word or each.process.uid == claims[0].process.uid
        )

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
        leads, follows, refused = [], [], []
        for report in row.verdict.reports:
            leader = self._claims[report.entity.key][0]
            if leader.process.pid == pid:
                leads.append(report)
            else:
                follows.append((report, leader.process.pid))
                if report.own_word and leader.process.uid != row.process.uid:
                    refused.append(
                        f"metadata of uid {row.process.uid} does not displace the entity's leader,"
                        f" which runs as uid {leader.process.uid}"
                    )
        reason, detail = row.verdict.reason, row.verdict.detail
        if reason is Reason.REPORTED and not leads:
            reason = Reason.FOLLOWS
        return Why(
            row.process,
            reason,
            "; ".join(filter(None, (detail, *refused))),
            tuple(leads),
            tuple(follows),
        )

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

    def _insert(self, key: EntityKey, report: Report) -> None:
        claims = self._claims.get(key)
        if claims is None:
            self._claims[key] = (report,)
        else:
            at = _place(claims, report)
            self._several(key).insert(at, report)

    def _release(self, key: EntityKey, report: Report) -> None:
        claims = self._claims[key]
        at = _place(claims, report)
        if at == 0:
            self._touched.add(key)
        if len(claims) == 1:
            del self._claims[key]
            return
        several = self._several(key)
        del several[at]
        first = _first_own_word(several)
        if report.own_word and at == first < len(several):
            # the user who had it may have no other process: then the next user has it
            holder = several[first].process.uid
            if holder != report.process.uid:
                several[first:] = sorted(
                    several[first:], key=lambda each: (each.process.uid != holder, _age(each))
                )

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


def _rank(report: Report) -> tuple[bool, int]:
    """Tell claims apart that stand in different places for one process."""
    return report.own_word, report.process.uid if report.own_word else 0


def _claim_of(row: Row | None, key: EntityKey) -> Report | None:
    """Return what a process claimed of an entity before."""
    reports = row.verdict.reports if row else ()
    return next((report for report in reversed(reports) if report.entity.key == key), None)


def _first_own_word(claims: Sequence[Report]) -> int:
    """Find where the claims begin that processes' own users have written."""
    return bisect_left(claims, 1, key=lambda report: int(report.own_word))


def _place(claims: Sequence[Report], report: Report) -> int:
    """Find where a claim stands, or would stand.

    First the claims that the agent found, the oldest process's first; then those of the user who
    has the entity among users, then those of all others.
    """
    first = _first_own_word(claims)
    if not report.own_word:
        return bisect_left(claims, _age(report), hi=first, key=_age)
    holder = claims[first].process.uid if first < len(claims) else report.process.uid

    def order(each: Report) -> tuple[bool, tuple[int, int]]:
        return each.process.uid != holder, _age(each)

    return bisect_left(claims, order(report), lo=first, key=order)
