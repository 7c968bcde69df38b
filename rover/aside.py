"""Work that may wait without end, as for a resolver or a file server, done aside."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_S: Final = 0.5
"""Seconds that the work is waited for; it then takes its time, and nobody waits."""


class Aside:
    """A thread for one kind of work, one at a time; whoever wants it done waits with patience.

    One thread asks.
    """

    def __init__(self, name: str) -> None:
        """Start nothing yet.

        Args:
            name: of the thread, while there is one.
        """
        self._name = name
        self._thread = threading.Thread()

    def do(self, work: Callable[[], object]) -> bool:
        """Have it done, unless the time before still lasts.

        Args:
            work: leaves what it found where its owner looks for it.

        Returns:
            Whether it was begun now and is not done in time.
        """
        if self._thread.is_alive():
            return False
        thread = threading.Thread(target=work, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads are to be had now
            return False
        self._thread = thread
        thread.join(PATIENCE_S)
        return thread.is_alive()
