"""The wish to end, as signal handlers may utter it."""

from __future__ import annotations

import queue


class StopRequest:
    """Set once and for all, by any thread and by a signal handler.

    A handler runs in the main thread between two of its instructions. `threading.Event` is not for
    it: where the main thread is just inside `Event.wait`, it holds the lock that `set` takes, and
    waits for itself for ever. `queue.SimpleQueue.put` is made for such calls (it is reentrant, says
    its documentation), so one item in such a queue is the flag.
    """

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[None] = queue.SimpleQueue()

    def set(self) -> None:
        """Ask for the end; more than once changes nothing."""
        if self._asked.empty():
            self._asked.put(None)

    def is_set(self) -> bool:
        """Tell whether the end was asked for."""
        return not self._asked.empty()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the end is asked for, at most so many seconds; tell whether it was."""
        try:
            self._asked.get(timeout=timeout)
        except queue.Empty:
            return False
        self._asked.put(None)
        return True
