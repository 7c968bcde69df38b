"""Whether a process is told to be one that can be profiled, as far as is known in time.

The server never takes a first "no" back, so "no" is said only of an executable that was read and
names no functions, and of everything where profiling is turned off: there no task would be
carried out. Where it cannot be read, or not in time, it is "yes".
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from rover.binaries.reader import SUPPORTS_AT_ONCE, Reader, ReadError
from rover.foreign.blame import whole_blame

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rover.foreign.blame import Blame
    from rover.model import Process

log = logging.getLogger("rover.profiling")

ANSWER_S: Final = 1.0
"""Seconds that one executable may take; most take 0.2 ms."""
ALL_S: Final = 3.0
"""Seconds that all of those asked for together may take; whoever's turn it is then has held the
child up."""
IDLE_S: Final = 30.0
"""Seconds without a question after which the child, and the 5 MB that it takes, are given up."""
KEPT_S: Final = 3_600.0
"""Seconds for which what is at an executable's path is taken for the same file, at most: without
this each process that starts on a quiet host would start the child."""
MAX_KEPT: Final = 4_096
"""Executables."""
MAX_OF_ONE: Final = 1
"""Times in KEPT_S that processes of one user may hold the child up, as `rover.foreign.blame` tells
users apart. Afterwards none of theirs is read."""
MAX_FAILURES: Final = 8
"""The same of all: afterwards nobody's are."""


class Supports:
    """Asks the child that reads binaries; any thread, one at a time."""

    def __init__(self, reader: Reader | None = None, *, active: bool = True) -> None:
        """Start nothing yet.

        Args:
            reader: the child.
            active: whether tasks are carried out at all (`profiling.active`).
        """
        self._active = active
        self._reader = reader or Reader(answer_s=ANSWER_S, hurried=lambda: self._closed)
        self._lock = threading.Lock()
        self._known: dict[tuple[int, str], bool] = {}
        """By mount namespace and path; all are forgotten together."""
        self._known_from = 0.0
        self._failures: list[tuple[float, tuple[str, int]]] = []
        """When the child was held up, and by whom."""
        self._asked_at = 0.0
        self._closed = False
        self._watch: threading.Timer | None = None

    def supports_profiling(self, processes: Sequence[Process]) -> list[bool]:
        """Tell of each whether its stacks would have names.

        Waits for the child, which is started at the first question: ANSWER_S at most for each user
        that holds it up, and ALL_S for all together.
        """
        if not self._active:
            return [False] * len(processes)
        with self._lock:
            if time.monotonic() - self._known_from >= KEPT_S or len(self._known) >= MAX_KEPT:
                self._known, self._known_from = {}, time.monotonic()
            told = [self._known.get(_place(each)) for each in processes]
            alike: dict[object, list[int]] = {}
            for at, process in enumerate(processes):
                if told[at] is None:
                    alike.setdefault(_place(process) if process.exe else at, []).append(at)
            for group, supported in self._asked(processes, list(alike.values())):
                first = processes[group[0]]
                if first.exe:
                    self._known[_place(first)] = supported
                for at in group:
                    told[at] = supported
            return [each is not False for each in told]

    def _asked(
        self, processes: Sequence[Process], alike: list[list[int]]
    ) -> Iterator[tuple[list[int], bool]]:
        """Ask for one of those that have the same file, and for the next where that fails.

        Args:
            processes: all.
            alike: places of those to be asked for, together where they have one file.

        Yields:
            The places of such, and what was told of one of them.
        """
        until = time.monotonic() + ALL_S
        waiting = [(group, group[:]) for group in alike]
        while waiting and not self._closed and (left := until - time.monotonic()) > 0:
            some, waiting = waiting[:SUPPORTS_AT_ONCE], waiting[SUPPORTS_AT_ONCE:]
            for _, left_to_ask in some:
                while left_to_ask and self._is_left_out(processes[left_to_ask[0]]):
                    del left_to_ask[0]
            some = [each for each in some if each[1]]
            found = self._ask([processes[left_to_ask[0]] for _, left_to_ask in some], left)
            for (group, left_to_ask), supported in zip(some, found, strict=False):
                del left_to_ask[0]
                if supported is not None:
                    left_to_ask.clear()
                    yield group, supported
            waiting = [each for each in some if each[1]] + waiting

    def _ask(self, processes: list[Process], within: float) -> list[bool | None]:
        """Ask for some, and give what was told, up to one that has held the child up."""
        if not processes:
            return []
        self._asked_at = time.monotonic()
        if self._watch is None:
            self._watch_idling(IDLE_S)
        # found out before, for a process may end before the read of its file does
        whom = [_behind(each) for each in processes]
        try:
            told, held_up = self._reader.supports(whom, within)
        except ReadError as error:
            log.warning("processes are told to be such as can be profiled: %s", error)
            return [None] * len(processes)
        if held_up:
            culprit = whom[len(told)]
            self._failures.append((time.monotonic(), _key(culprit)))
            log.warning(
                "process %d is told to be one that can be profiled: its executable held up the "
                "child that reads",
                culprit.pid,
            )
            told.append(None)
        return told

    def _is_left_out(self, process: Process) -> bool:
        if not self._failures:
            return False
        now, key = time.monotonic(), _key(_behind(process))
        self._failures = [each for each in self._failures if now - each[0] < KEPT_S]
        of_one = sum(each == key for _, each in self._failures)
        return of_one >= MAX_OF_ONE or len(self._failures) >= MAX_FAILURES

    def close(self) -> None:
        """End the child for good; what is being asked is waited for HURRIED_S at most."""
        self._closed = True
        with self._lock:
            self._reader.close()
            if self._watch:
                self._watch.cancel()

    def _watch_idling(self, seconds: float) -> None:
        self._watch = threading.Timer(seconds, self._end_idle)
        self._watch.name = "profiling-support"
        self._watch.daemon = True
        self._watch.start()

    def _end_idle(self) -> None:
        """End the child that was asked nothing for a while; the next question starts another."""
        with self._lock:
            self._watch = None
            left = self._asked_at + IDLE_S - time.monotonic()
            if self._closed:
                return
            if left > 0:
                self._watch_idling(left)
            else:
                self._reader.close()


def _place(process: Process) -> tuple[int, str]:
    return process.mount_namespace, process.exe


def _behind(process: Process) -> Blame:
    return whole_blame(process.pid, process.uid, process.mount_namespace)


def _key(blame: Blame) -> tuple[str, int]:
    """Tell users apart; the host's root is one here, whatever its process."""
    return ("uid", 0) if blame.is_of_host else blame.key
