"""Which known processes are to be looked at again now, for what they changed after their start.

A daemon sets its title, gives up root, leaves its directory and is moved to its cgroup in the first
seconds, so young processes are looked at often. Old ones take their turns, evenly spread, each once
a period. All of that with as few wake-ups as can be, and mostly without reading a file: a process
that has not run since the last look cannot have changed anything of itself.
"""

from __future__ import annotations

import heapq
import math
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rover.model import Process, ProcessKey

AGES: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds after its start, or its exec, at which a process is looked at again; then it is old."""
GRID: Final = 0.5
"""Looks at the young are made at multiples of so many seconds: many share a wake-up."""
MOST: Final = 128
"""Looks a turn, of the young and of the old each: 128 that find nothing take 2 ms, 128 that read
all anew 8 ms."""
CATCH_UP: Final = 0.1
"""Seconds to the next turn where more young ones were due. So starts beyond some 250 a second are
looked at later, and less often, instead of taking more than 5 % of a core."""
STEPS: Final = 10
"""Turns that the old are spread over in a period, at least, where they are as many."""
_EXACT: Final = 1e-6
"""Part of a look that is the arithmetic's own."""


class Visit(NamedTuple):
    """One process to look at."""

    process: Process
    """As it is known."""
    has_run: bool
    """Whether it has run since the last look, or that cannot be told."""
    is_young: bool


@dataclass(slots=True)
class _Young:
    since: float
    due: float
    ran: int
    is_listed: bool
    """Whether it is among the old as well, for it was one before its exec."""


class Revisits:
    """When each known process is looked at again; one thread uses it.

    An old process takes 16 bytes here: its key and its run time.
    """

    def __init__(
        self,
        period: float,
        known: Callable[[ProcessKey], Process | None],
        run_time: Callable[[int], int | None],
    ) -> None:
        """Begin with no process.

        Args:
            period: seconds within which each old process is looked at once.
            known: gives what is known of a process; what is not any longer is dropped at its turn.
            run_time: tells for how long the threads of a process have run, None where that is
                unknown: then it is taken to have run.
        """
        self._period = period
        self._known = known
        self._run_time = run_time
        self._young: dict[ProcessKey, _Young] = {}
        self._heap: list[tuple[float, ProcessKey]] = []
        self._young_at = 0.0
        """No earlier than this are the young looked at, for there were many."""
        self._old: list[ProcessKey] = []
        self._ran = array("Q")
        """Run time of each of the old, as of the last look."""
        self._unsure: set[ProcessKey] = set()
        """Those of whom the last look failed."""
        self._turn = 0
        """Place of the next of the old."""
        self._old_at: float | None = None
        self._old_looked_at = 0.0
        self._owed = 0.0
        """Looks at the old that their number and the time since the last turn ask for."""

    @property
    def young(self) -> int:
        """How many processes count as young."""
        return len(self._young)

    def add(self, key: ProcessKey, ran: int | None, age: float, now: float) -> None:
        """Look again at a process from now on.

        Args:
            key: it.
            ran: its run time before its facts were read.
            age: seconds since it started.
            now: time.monotonic().
        """
        if age < AGES[-1]:
            self._young[key] = young = _Young(now - age, 0.0, ran or 0, is_listed=False)
            self._schedule(key, young, now)
        else:
            self._grow_old(key, ran or 0, now)

    def holds(self, key: ProcessKey) -> bool:
        """Tell whether a process is looked at; takes as long as there are processes."""
        return key in self._young or key in self._old

    def renew(self, key: ProcessKey, ran: int | None, now: float) -> None:
        """Take a process that became another by an exec for a young one."""
        before = self._young.get(key)
        is_listed = before.is_listed if before else True
        self._young[key] = young = _Young(now, 0.0, ran or 0, is_listed)
        self._schedule(key, young, now)

    def forget(self, key: ProcessKey) -> None:
        """Drop a process that has ended; an old one goes at its turn."""
        self._young.pop(key, None)
        self._unsure.discard(key)

    def again(self, key: ProcessKey) -> None:
        """Take a process to have run when its next turn comes, for this look has failed."""
        self._unsure.add(key)

    def _is_unsure(self, key: ProcessKey) -> bool:
        if key not in self._unsure:
            return False
        self._unsure.remove(key)
        return True

    def next_look(self) -> float | None:
        """Return the time.monotonic() at which `take` has something to give, None for never."""
        times = [] if self._old_at is None else [self._old_at]
        if self._heap:
            times.append(max(self._heap[0][0], self._young_at))
        return min(times, default=None)

    def take(self, now: float) -> Iterator[Visit]:
        """Give the processes that are due, each of them read for its run time in that moment."""
        if self._heap and max(self._heap[0][0], self._young_at) <= now:
            yield from self._take_young(now)
        if self._old_at is not None and self._old_at <= now:
            yield from self._take_old(now)

    def _take_young(self, now: float) -> Iterator[Visit]:
        for _ in range(MOST):
            if not self._heap or self._heap[0][0] > now:
                return
            due, key = heapq.heappop(self._heap)
            young = self._young.get(key)
            if young is None or young.due != due:
                continue  # ended, or begun anew since
            process, before, ran = self._known(key), young.ran, self._run_time(key.pid)
            young.ran = ran or 0
            self._schedule(key, young, now)
            if process is not None:
                has_run = ran is None or ran != before or self._is_unsure(key)
                yield Visit(process, has_run, is_young=True)
        self._young_at = now + CATCH_UP

    def _schedule(self, key: ProcessKey, young: _Young, now: float) -> None:
        """Plan the next look at a young process; after the last it is old."""
        at = next((young.since + age for age in AGES if young.since + age > now), None)
        if at is None:
            del self._young[key]
            if not self._young:
                self._young.clear()  # gives back the room of all that came with the first scan
            if not young.is_listed:
                self._grow_old(key, young.ran, now)
        else:
            young.due = math.ceil(at / GRID) * GRID
            heapq.heappush(self._heap, (young.due, key))

    def _grow_old(self, key: ProcessKey, ran: int, now: float) -> None:
        self._old.append(key)
        self._ran.append(ran)
        if self._old_at is None:
            self._old_looked_at, self._owed = now, 0.0
            self._old_at = now + self._pause()
        else:
            self._old_at = min(self._old_at, now + self._pause())

    def _take_old(self, now: float) -> Iterator[Visit]:
        self._owed += len(self._old) * (now - self._old_looked_at) / self._period
        looks = min(MOST, len(self._old), math.ceil(self._owed - _EXACT))
        self._owed = min(self._owed - looks, len(self._old))
        while looks > 0 and self._old:
            at = self._turn = self._turn % len(self._old)
            key = self._old[at]
            process = self._known(key)
            if process is None:
                self._drop(at)
                continue
            ran = self._run_time(key.pid)
            has_run = ran is None or ran != self._ran[at] or self._is_unsure(key)
            self._ran[at] = ran or 0
            self._turn += 1
            looks -= 1
            yield Visit(process, has_run, is_young=False)
        self._old_looked_at = now
        self._old_at = now + self._pause() if self._old else None

    def _drop(self, at: int) -> None:
        """Take out one of the old; the last takes its place, and so its turn."""
        key, ran = self._old.pop(), self._ran.pop()
        if at < len(self._old):
            self._old[at], self._ran[at] = key, ran

    def _pause(self) -> float:
        amount = len(self._old)
        return self._period / max(min(STEPS, amount), math.ceil(amount / MOST))
