"""Writes to a file in a thread, for a disk or a server of files that hangs holds up who writes.

No flag of the kernel's makes a write to a file return instead of waiting: poll(2) calls it ready
always, and O_NONBLOCK says nothing of it (open(2)).
"""

from __future__ import annotations

import os
import threading
import time
from typing import Final

from rover.waiting import Budget

THREAD: Final = "log-file"
AGAIN_S: Final = 1.0
"""Seconds until what a full disk, say, did not take is tried again."""


class FileWriter:
    """One part at a time; whoever gives it waits until it is written, as `rover.waiting` says."""

    def __init__(self, descriptor: int) -> None:
        """Begin.

        Args:
            descriptor: of the file; a copy of it is written to.
        """
        self._file = os.dup(descriptor)
        self._changed = threading.Condition()
        self._part = b""
        self._closed = False
        self._budget = Budget(time.monotonic())
        threading.Thread(target=self._write, name=THREAD, daemon=True).start()

    def put(self, part: memoryview) -> int:
        """Have a part written; return its bytes.

        Raises:
            BlockingIOError: the one before is not written yet.
        """
        with self._changed:
            if self._part:
                raise BlockingIOError
            self._part = bytes(part)
            self._changed.notify_all()
        began = time.monotonic()
        self.has_room(self._budget.left(began))
        self._budget.spend(time.monotonic() - began)
        return len(part)

    def has_room(self, seconds: float) -> bool:
        """Tell whether another part is taken within so many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._part, seconds)

    def close(self) -> None:
        """Let go of the file once the part given last is written."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._part or self._closed)
                part = self._part
            if not part:
                break
            try:
                rest = part[os.write(self._file, part) :]
            except OSError:
                rest = part
            with self._changed:
                if rest == part and self._changed.wait_for(lambda: self._closed, AGAIN_S):
                    break
                self._part = rest
                self._changed.notify_all()
        os.close(self._file)
