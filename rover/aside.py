"""Work that may wait without end, as for a resolver or a file server, done aside."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")

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


def begun(work: Callable[[], Result], name: str) -> Future[Result]:
    """Begin work in a thread of its own, which keeps no process from ending.

    Args:
        work: what it raises is raised by the future.
        name: of the thread.

    Returns:
        What the work will come to.

    Raises:
        RuntimeError: no more threads are to be had now.
    """
    found: Future[Result] = Future()

    def run() -> None:
        try:
            found.set_result(work())
        except Exception as error:  # noqa: BLE001 - is raised again by whoever waits
            found.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return found
