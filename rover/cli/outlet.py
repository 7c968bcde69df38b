"""Standard error as the log's way out: whoever takes the text holds nobody up who writes it.

A pipe whose reader has stopped, a journal that hangs and a terminal at Ctrl-S take nothing, and a
write would wait for them without end, with every thread that has something to say behind it.
"""

from __future__ import annotations

import io
import os
import select
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_S: Final = 0.2
"""Seconds that are waited when it takes nothing; until it does again, no more are."""
AT_ONCE: Final = select.PIPE_BUF
"""Bytes that do not block where the kernel says that there is room for any."""


class Outlet(io.TextIOBase, TextIO):
    """Writes to a descriptor what it takes, and counts the lines that it does not.

    One thread at a time.
    """

    def __init__(self, stream: TextIO, lost: Callable[[int], str]) -> None:
        """Begin.

        Args:
            stream: has a descriptor, and says how text is encoded.
            lost: says that so many lines were not taken, in a line without its end; written when
                some are again.
        """
        self._descriptor = stream.fileno()
        self._encoding = stream.encoding
        self._stream: TextIO | None = None
        self._say_lost = lost
        self._lost = 0
        self._is_stuck = False
        self._is_broken_off = False
        """A part of a line was taken."""

    def lead_through(self, stream: TextIO | None) -> None:
        """Write by another stream that leads to the same descriptor; None: by itself again."""
        self._stream = stream

    def write(self, text: str, /) -> int:
        """Write whole lines, or count them; return the number of characters."""
        if not self._takes():
            self._lost += text.count("\n")
            return len(text)
        if self._lost:
            broken, lost = self._is_broken_off, self._lost
            self._is_broken_off, self._lost = False, 0
            self._put("\n" * broken + self._say_lost(lost) + "\n")
        self._put(text)
        return len(text)

    def _put(self, text: str) -> None:
        if self._stream:
            self._stream.write(text)
            self._stream.flush()
            return
        rest = text.encode(self._encoding, "backslashreplace")
        while rest:
            if not self._takes():
                self._lost += text.count("\n")
                self._is_broken_off = True
                return
            rest = rest[os.write(self._descriptor, rest[:AT_ONCE]) :]

    def _takes(self) -> bool:
        """Tell whether there is room; wait for it a while, once."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        # an error or a hang-up is told by the write
        self._is_stuck = not poll.poll(0 if self._is_stuck else PATIENCE_S * 1000)
        return not self._is_stuck
