"""Notice what known processes change after their start, and take it in without flooding anyone."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from rover.clock import NANOSECONDS, NS_PER_TICK, boot_clock_ns
from rover.discovery.cgroup_rounds import CgroupRounds
from rover.discovery.renaming import Names, differences
from rover.discovery.revisits import Revisits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rover.discovery.cgroup_rounds import Trees
    from rover.discovery.procfs import ProcReader
    from rover.model import Process, ProcessKey, Verdict
    from rover.table import Row, Table, Why

LOOK_PERIOD: Final = 30.0
"""Seconds within which each old process is looked at, where nobody says otherwise."""


class SecondLooks:
    """Looks at known processes again: at young ones often, at old ones once a period.

    Mostly that is one question: has it run since. A process that has not run can only be moved to
    another cgroup, by others, so nothing more is read of it; that it was moved, its former cgroup
    tells. What changes a sleeping process from outside otherwise, such as the renaming of a
    directory above its executable, is seen when it runs next.

    Attributes:
        looks: how many there were.
        compared: such of them as compared its own facts, for it had run.
        reads: how often all facts were read anew, for something was different.
        changed: facts found different, by their name.
        names: says whether a process may be renamed.
    """

    def __init__(
        self,
        *,
        table: Table,
        reader: ProcReader,
        admit: Callable[[int], object],
        judge_again: Callable[[Iterable[ProcessKey]], None],
        one: Callable[..., None],
        period: float,
        trees: Trees,
    ) -> None:
        """Begin with no process.

        Args:
            table: tells what is known; it is read only.
            reader: reads /proc, for what tells whether a process is as it was.
            admit: reads all of a process and takes it in, given its pid.
            judge_again: asks for new verdicts on processes.
            one: runs a step about one process, given what it is called, the pid, the step and its
                arguments, so that a defect costs that process alone.
            period: seconds within which each old process is looked at.
            trees: tell who is in a cgroup.
        """
        self.looks = 0
        self.compared = 0
        self.reads = 0
        self.changed: Counter[str] = Counter()
        self.names = Names()
        self._table = table
        self._reader = reader
        self._admit = admit
        self._judge_again = judge_again
        self._one = one
        self._revisits = Revisits(period, self._known, reader.run_time)
        self._rounds = CgroupRounds(trees, table, period)

    @property
    def young(self) -> int:
        """How many processes count as young."""
        return self._revisits.young

    def note(self, known: Row | None, process: Process, ran: int | None) -> None:
        """Look again, from now on, at a process that is new or has become another program.

        Args:
            known: what was known of it.
            process: it, as it was read now.
            ran: `ProcReader.run_time` before it was read.
        """
        if known is None or known.process.key != process.key:
            age = boot_clock_ns() - process.key.start_ticks * NS_PER_TICK
            self._revisits.add(process.key, ran, age / NANOSECONDS, time.monotonic())
        elif known.process.image != process.image:
            self._revisits.renew(process.key, ran, time.monotonic())

    def forget(self, key: ProcessKey) -> None:
        """Drop a process that has ended."""
        self._revisits.forget(key)
        self.names.forget(key)

    def next_look(self) -> float | None:
        """Return the time.monotonic() at which `look` has something to do; None: never."""
        times = (
            self._revisits.next_look(),
            self._rounds.next_turn(),
            self.names.next_due(),
            self._table.next_change(),
        )
        return min((at for at in times if at is not None), default=None)

    def look(self, now: float) -> None:
        """Look at the processes that are due, and take in names that waited.

        Args:
            now: time.monotonic().
        """
        for known, has_run, is_young in self._revisits.take(now):
            self.looks += 1
            self.compared += has_run
            if has_run or is_young or not self._rounds.covers(known.cgroup):
                self._one("look", known.pid, self._look_at, known, has_run=has_run)
        for key in self._rounds.take(now):
            stray = self._known(key)
            if stray is not None:
                self._one("look", key.pid, self._ask_cgroup, stray)
        self._judge_again(self.names.due(now))

    def steady(self, known: Row | None, process: Process, verdict: Verdict) -> Verdict:
        """Give the verdict that counts of a process: one that changes its names too often waits."""
        if known is None or known.process.key != process.key:
            return verdict
        return self.names.steady(process, known.verdict, verdict, time.monotonic())

    def explain(self, why: Why) -> Why:
        """Add to the story of a process what of it waits."""
        return self.names.explain(why, self._table, time.monotonic())

    def _look_at(self, known: Process, *, has_run: bool) -> None:
        if has_run and not self._reader.is_as(known):
            stat = self._reader.stat(known.pid)
            if stat is not None and not stat.ended:  # of its end the kernel tells
                self._read_anew(known)
        else:
            self._ask_cgroup(known)

    def _ask_cgroup(self, known: Process) -> None:
        if self._reader.cgroup(known.pid) not in {known.cgroup, None}:
            self._read_anew(known)

    def _read_anew(self, known: Process) -> None:
        self.reads += 1
        self._admit(known.pid)
        process = self._known(known.key)
        if process is not None:
            self.changed.update(differences(known, process))

    def _known(self, key: ProcessKey) -> Process | None:
        row = self._table.get(key.pid)
        return row.process if row is not None and row.process.key == key else None
