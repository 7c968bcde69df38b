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

from rover.binaries.reader import SUPPORTS_AT_ONCE, ChildLost, Reader
from rover.foreign.blame import whole_blame

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rover.model import Process

log = logging.getLogger("rover.profiling")

ANSWER_S: Final = 1.0
"""Seconds that one executable may take; most take 0.2 ms."""
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
        self._reader = reader or Reader(answer_s=ANSWER_S)
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

        Waits for the child, which is started at the first question: for a second at most for each
        user that holds it up.
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
                for at in group:
                    told[at] = supported
                first = processes[group[0]]
                if supported is not None and first.exe:
                    self._known[_place(first)] = supported
            return [each is not False for each in told]

    def _asked(
        self, processes: Sequence[Process], groups: list[list[int]]
    ) -> Iterator[tuple[list[int], bool | None]]:
        """Ask for one of each group, and give what was told; None where nothing was."""
        while groups := [each for each in groups if not self._is_left_out(processes[each[0]])]:
            some, groups = groups[:SUPPORTS_AT_ONCE], groups[SUPPORTS_AT_ONCE:]
            told = self._ask([processes[each[0]] for each in some])
            yield from zip(some, told, strict=False)
            groups = some[len(told) :] + groups

    def _ask(self, processes: list[Process]) -> list[bool | None]:
        """Ask for some, and give what was told, up to one that has held the child up."""
        self._asked_at = time.monotonic()
        if self._watch is None and not self._closed:
            self._watch_idling(IDLE_S)
        try:
            told = self._reader.supports_all([each.pid for each in processes])
        except ChildLost as error:
            log.warning("processes are told to be such as can be profiled: %s", error)
            return [None] * len(processes)
        if len(told) < len(processes):
            process = processes[len(told)]
            self._failures.append((time.monotonic(), _who(process)))
            log.warning(
                "process %d is told to be one that can be profiled, for its executable cannot be "
                "read: it held up the child that reads",
                process.pid,
            )
            told.append(None)
        return told

    def _is_left_out(self, process: Process) -> bool:
        if not self._failures:
            return False
        now, who = time.monotonic(), _who(process)
        self._failures = [each for each in self._failures if now - each[0] < KEPT_S]
        of_one = sum(each == who for _, each in self._failures)
        return of_one >= MAX_OF_ONE or len(self._failures) >= MAX_FAILURES

    def close(self) -> None:
        """End the child for good."""
        with self._lock:
            self._closed = True
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


def _who(process: Process) -> tuple[str, int]:
    return whole_blame(process.pid, process.uid, process.mount_namespace).key
