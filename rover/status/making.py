"""Answers that take their time, each made in a thread that lives for it alone."""

from __future__ import annotations

import threading
from http import HTTPStatus
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from rover.status.http import Answer, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rover.status.bell import Bell
    from rover.status.site import Later

AT_ONCE: Final = 4
"""Answers that are made at once."""


class Making:
    """Makes answers, each subject's once however many ask for it."""

    def __init__(self, bell: Bell, failed: Callable[[Exception], None]) -> None:
        """Hold what to tell.

        Args:
            bell: rung when an answer is made.
            failed: told of a defect, in the thread that it ended.
        """
        self._bell = bell
        self._failed = failed
        self._under_way: set[str] = set()
        self._made: SimpleQueue[tuple[str, Answer]] = SimpleQueue()

    def begin(self, later: Later) -> bool:
        """Have an answer made, if its like is not being made already.

        Returns:
            Whether it will be had from `made`; else too many others are being made.
        """
        if later.subject in self._under_way:
            return True
        if len(self._under_way) >= AT_ONCE:
            return False
        self._under_way.add(later.subject)
        threading.Thread(
            target=self._make, args=(later,), name="status-answer", daemon=True
        ).start()
        return True

    def made(self) -> Iterator[tuple[str, Answer]]:
        """Take the answers that were made, with their subjects."""
        while True:
            try:
                subject, answer = self._made.get_nowait()
            except Empty:
                return
            self._under_way.discard(subject)
            yield subject, answer

    def _make(self, later: Later) -> None:
        try:
            answer = later.make()
        except Exception as error:  # noqa: BLE001 - the asker is told, the log has it
            self._failed(error)
            answer = say(
                HTTPStatus.INTERNAL_SERVER_ERROR,
                {"error": "the agent itself fails on this; its log has the traceback"},
            )
        self._made.put((later.subject, answer))
        self._bell.ring()
