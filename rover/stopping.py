"""The wish to end, as signal handlers may utter it."""

from __future__ import annotations

import queue
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK: Final = 1.0
"""Seconds between two looks of who waits. Python runs handlers in the main thread alone: a signal
that the kernel gives to another thread, or that comes just before the main thread falls asleep,
wakes nobody."""


class StopRequest:
    """Set once and for all, by any thread and by a signal handler.

    A handler runs in the main thread between two of its instructions. `threading.Event` is not for
    it: where the main thread is just inside `Event.wait`, it holds the lock that `set` takes, and
    waits for itself for ever. `queue.SimpleQueue.put` is made for such calls (it is reentrant, says
    its documentation), so an item in such a queue ends the wait. For the same reason a handler
    writes no log: it has the waiting thread do so.
    """

    def __init__(self) -> None:
        self._set = False
        self._woken: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()

    def set(self) -> None:
        """Ask for the end; more than once changes nothing."""
        if not self._set:
            self._set = True
            self._woken.put(None)

    def is_set(self) -> bool:
        """Tell whether the end was asked for."""
        return self._set

    def meanwhile(self, action: Callable[[], object]) -> None:
        """Have a thread that waits, or the next that does, do something."""
        self._woken.put(action)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the end is asked for, at most so many seconds; tell whether it was."""
        until = float("inf") if timeout is None else time.monotonic() + timeout
        while not self._set:
            left = max(0.0, until - time.monotonic())
            try:
                action = self._woken.get(timeout=min(left, LOOK))
            except queue.Empty:
                if left <= LOOK:
                    return False
                continue
            if action is None:
                self._woken.put(None)  # others may wait as well
            else:
                action()
        return True
