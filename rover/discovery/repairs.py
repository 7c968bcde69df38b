"""What a reconcile finds other than it is known, process by process, and puts right."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from rover.clock import NANOSECONDS, NS_PER_TICK, boot_clock_ns
from rover.discovery.feed import Kind
from rover.discovery.runtime_stage import is_runtime_stage
from rover.model import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from rover.discovery.counts import Figures
    from rover.discovery.doubts import Doubts
    from rover.discovery.procfs import ProcReader
    from rover.discovery.procfs_text import KernelThread, Stat
    from rover.table import Table

IN_HAND_NS: Final = NANOSECONDS // 4
"""A process that has settled this lately may still be on its way from the kernel's maps."""
IN_HAND_S: Final = 0.5
"""Seconds after which the kernel's maps have been looked at for it; if not, its event was lost."""


class Repairs:
    """Puts right what is known of single processes; of the census's thread.

    Where an event that is under way may be all there is to it, a process is left to the kernel, and
    looked at once more when that has had its time.
    """

    def __init__(
        self,
        *,
        table: Table,
        kernel_threads: Mapping[int, KernelThread],
        reader: ProcReader,
        doubts: Doubts,
        figures: Figures,
        settle_ns: int,
        has_events: bool,
        follow: Callable[[Collection[int]], object],
        admit: Callable[[int], Process | KernelThread | None],
        tell: Callable[[Kind, int], object],
    ) -> None:
        """Begin with nothing to look at.

        Args:
            table: what is known of processes.
            kernel_threads: and of the kernel's own, by pid.
            reader: reads /proc.
            doubts: takes processes whose first thread has ended.
            figures: counts what was put right.
            settle_ns: nanoseconds that a process must live to be heard of.
            has_events: whether the kernel tells; else scanning is all there is.
            follow: has ends of processes sent.
            admit: reads a process into the table; returns what it is, None where it is gone.
            tell: tells who listens what happened to a process that is known.
        """
        self._table = table
        self._kernel_threads = kernel_threads
        self._reader = reader
        self._doubts = doubts
        self._figures = figures
        self._settle_ns = settle_ns
        self._has_events = has_events
        self._follow = follow
        self._admit = admit
        self._tell = tell
        self._left: set[int] = set()
        self._left_until: float | None = None

    def find(self, pid: int) -> None:
        """Take in a process that no event told of, if it has lived for the settle time."""
        stat = self._reader.stat(pid)
        if stat is None or stat.ended:
            return
        slack = IN_HAND_NS if self._has_events else 0
        if boot_clock_ns() - stat.start_ticks * NS_PER_TICK < self._settle_ns + slack:
            # The kernel has it in hand, unless its event was lost: then it is found at the next
            # look. Without eBPF the next scan finds it.
            if self._has_events:
                self._leave_to_the_kernel(pid)
            return
        self._follow([pid])
        found = self._admit(pid)
        # what was left out as a runtime's stage was not lost
        if isinstance(found, Process) and not is_runtime_stage(found, 0.0):
            self._figures.repairs_new += 1
            self._tell(Kind.FOUND, pid)

    def compare(self, pid: int, sure: bool) -> None:  # noqa: FBT001 - the guard hands it on
        """Look whether a process is as it was; repair what is not, at once only where that is sure.

        Otherwise an event that is under way may be all there is to it.
        """
        stat = self._reader.stat(pid)
        if self._differs(pid, stat):
            if sure:
                self._repair(pid)
            else:
                self._leave_to_the_kernel(pid)
        elif stat and stat.leaderless and pid not in self._doubts and self._table.get(pid):
            self._doubts.note(pid, time.monotonic())

    def next_look(self) -> float | None:
        """Return when those left to the kernel are due."""
        return self._left_until

    def due(self, now: float) -> Collection[int]:
        """Return the pids left to the kernel whose events have had time to come, once."""
        if self._left_until is None or self._left_until > now:
            return ()
        due, self._left, self._left_until = self._left, set(), None
        return due

    def verify(self, pid: int) -> None:
        """Find or repair a process that was left to the kernel, and is still not as it was."""
        if self._table.get(pid) is None:
            self.find(pid)
        elif self._differs(pid, self._reader.stat(pid)):
            self._repair(pid)

    def _differs(self, pid: int, stat: Stat | None) -> bool:
        row = self._table.get(pid)
        if row is not None:
            known = row.process
            return stat is None or is_gone(known, stat) or stat.image != known.image
        thread = self._kernel_threads.get(pid)
        return stat is None or thread is None or stat.start_ticks != thread.key.start_ticks

    def _repair(self, pid: int) -> None:
        """Read again another process with the pid, or another image."""
        self._follow([pid])
        was_thread, row = pid in self._kernel_threads, self._table.get(pid)
        found = self._admit(pid)
        after = self._table.get(pid)
        # a leader that has ended shows another image, for the same process
        same = row is not None and after is not None and after.process == row.process
        # of a kernel thread that makes room for another no event tells
        unseen = was_thread and not isinstance(found, Process)
        self._figures.repairs_changed += not (same or unseen)

    def _leave_to_the_kernel(self, pid: int) -> None:
        """Look at a process again when its event, unless that was lost, has been taken."""
        self._left.add(pid)
        self._left_until = time.monotonic() + self._settle_ns / NANOSECONDS + IN_HAND_S


def is_gone(process: Process, stat: Stat | None) -> bool:
    """Tell whether a process is no longer there, by what its pid has now."""
    return stat is None or stat.ended or stat.start_ticks != process.key.start_ticks
