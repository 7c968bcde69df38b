"""Rows of the first processes are made while the programs are compiled, which takes as long."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING

from rover.binaries.reader import ChildLost, ReadError
from rover.profiling.usage import start_ticks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rover.binaries.reader import Reader

log = logging.getLogger("rover.profiling")


class Ahead:
    """Has the child prepare processes, in a thread of its own.

    The child is this thread's until `finish` has returned.
    """

    def __init__(self, reader: Reader, pids: Iterable[int]) -> None:
        """Begin.

        Args:
            reader: the child.
            pids: the processes.
        """
        self._reader = reader
        self._pids: list[int] = []
        with contextlib.suppress(ReadError):  # told again when a process is entered
            reader.start()  # not by the thread: the kernel ends a child with whoever started it
            self._pids += pids
        self._enough = threading.Event()
        self.held_up: tuple[int, int] | None = None
        """Pid and start, as /proc shows it, of a process whose files held up the child."""
        self._thread = threading.Thread(target=self._run, name="profiling-ahead", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait for what is under way; what was not begun is left to whoever needs it."""
        self._enough.set()
        self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        for at, pid in enumerate(self._pids):
            if self._enough.is_set():
                break
            try:
                ticks = start_ticks(pid)
            except (OSError, ValueError, IndexError):
                continue
            try:
                self._reader.prepare(pid, ticks)
            except ChildLost:
                self.held_up = pid, ticks
                break
            except ReadError as error:  # it will be told when the process is entered
                log.debug("process %d is not prepared: %s", pid, error)
            log.debug("prepared processes=%d seconds=%.2f", at + 1, time.monotonic() - began)
