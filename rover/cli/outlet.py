"""Standard error as the log's way out: whoever takes the text holds nobody up who writes it.

A pipe whose reader has stopped, a journal that hangs, a terminal at Ctrl-S or behind a connection
that is gone, a file whose server is away take nothing, and a write would wait for them without end,
with every thread that has something to say behind it.
"""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Final, TextIO

from rover.cli.ways import way_to
from rover.waiting import Budget

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_HELD: Final = 1_000
"""Texts that wait for whoever draws."""


class Outlet(io.TextIOBase, TextIO):
    """Writes to a descriptor what it takes, and counts the lines that it does not.

    It is waited for as `rover.waiting` says. One thread at a time.
    """

    def __init__(self, stream: TextIO, lost: Callable[[int], str]) -> None:
        """Begin.

        Args:
            stream: has a descriptor, and says how text is encoded.
            lost: says that so many lines were not taken, in a line without its end; written when
                some are again.

        Raises:
            OSError: the stream is none of the system's.
        """
        self._encoding = stream.encoding
        self._way = way_to(stream.fileno())
        self._say_lost = lost
        self._lost = 0
        self._is_broken_off = False
        """A part of a line was taken."""
        self._budget = Budget(time.monotonic())
        self._held: list[str] | None = None

    def hold(self) -> None:
        """Keep what is written from now on for `held`: somebody draws on what it leads to."""
        self._held = self._held or []

    def held(self) -> str:
        """Give what was kept."""
        texts = self._held or []
        taken = texts[:]
        del texts[: len(taken)]
        return "".join(taken)

    def release(self) -> None:
        """Write again, what is kept first."""
        rest, self._held = self.held(), None
        if rest:
            self.write(rest)

    def write(self, text: str, /) -> int:
        """Write whole lines, or count them; return the number of characters."""
        held = self._held
        if held is not None:
            if len(held) < MOST_HELD:
                held.append(text)
            else:
                self._lost += text.count("\n")
            return len(text)
        if self._lost:
            said = self._say_lost(self._lost) + "\n"
            if not self._is_taken("\n" + said if self._is_broken_off else said):
                self._lost += text.count("\n")
                return len(text)
            self._lost = 0
        if not self._is_taken(text):
            self._lost += text.count("\n")
        return len(text)

    def close(self) -> None:
        """Let go of the way out; the stream's own descriptor stays open."""
        if not self.closed:
            self._way.close()
        super().close()

    def _is_taken(self, text: str) -> bool:
        """Write a text; tell whether all of it was taken."""
        rest = memoryview(text.encode(self._encoding, "backslashreplace"))
        whole = len(rest)
        while rest:
            try:
                rest = rest[self._way.put(rest) :]
            except BlockingIOError:
                if not self._waited():
                    self._is_broken_off = self._is_broken_off or len(rest) < whole
                    return False
        self._is_broken_off = False
        return True

    def _waited(self) -> bool:
        """Wait for room, within the budget; tell whether there is some."""
        began = time.monotonic()
        left = self._budget.left(began)
        has_room = left > 0 and self._way.has_room(left)
        self._budget.spend(time.monotonic() - began)
        return has_room
