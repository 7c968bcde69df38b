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

from rover.binaries.reader import ChildLost, Reader, ReadError
from rover.foreign.blame import whole_blame

if TYPE_CHECKING:
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

    def supports_profiling(self, process: Process) -> bool:
        """Tell whether stacks of a process would have names.

        Waits for the child, which is started at the first question, for a second at most.
        """
        if not self._active:
            return False
        with self._lock:
            now, place = time.monotonic(), (process.mount_namespace, process.exe)
            if now - self._known_from >= KEPT_S or len(self._known) >= MAX_KEPT:
                self._known, self._known_from = {}, now
            if place in self._known:
                return self._known[place]
            who = whole_blame(process.pid, process.uid, process.mount_namespace).key
            if self._is_left_out(who, now):
                return True
            self._asked_at = now
            if self._watch is None and not self._closed:
                self._watch_idling(IDLE_S)
            try:
                told = self._reader.supports(process.pid)[0]
            except ChildLost as error:
                self._failures.append((time.monotonic(), who))
                log.warning(
                    "process %d is told to be one that can be profiled, for its executable "
                    "cannot be read: %s",
                    process.pid,
                    error,
                )
                return True
            except ReadError:
                return True
            if process.exe:
                self._known[place] = told
            return told

    def _is_left_out(self, who: tuple[str, int], now: float) -> bool:
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
