"""Keys that are pressed at a terminal, taken without waiting."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import tty
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

READ_BYTES: Final = 256
"""At once; more than anybody presses between two looks."""


class Key(Enum):
    """What a key asks for; the value is what terminals send for it."""

    UP = (b"\x1b[A", b"\x1bOA", b"k")
    DOWN = (b"\x1b[B", b"\x1bOB", b"j")
    PAGE_UP = (b"\x1b[5~", b"p")
    PAGE_DOWN = (b"\x1b[6~", b" ", b"n")
    HOME = (b"\x1b[H", b"\x1b[1~", b"\x1bOH", b"g")
    END = (b"\x1b[F", b"\x1b[4~", b"\x1bOF", b"G")


_BY_BYTES: Final = sorted(
    ((sent, key) for key in Key for sent in key.value), key=lambda each: -len(each[0])
)


def keys_in(data: bytes) -> list[Key]:
    """Read what a terminal has sent; what is none of the keys is passed over."""
    found = []
    while data:
        sent, key = next(((s, k) for s, k in _BY_BYTES if data.startswith(s)), (b"", None))
        if key is not None:
            found.append(key)
        elif data.startswith(b"\x1b["):  # another key's: up to its final byte
            final = next((at for at, one in enumerate(data[2:], 3) if 0x40 <= one <= 0x7E), 2)  # noqa: PLR2004 - ECMA-48
            sent = data[:final]
        data = data[len(sent) or 1 :]
    return found


class Keys:
    """The keyboard of the terminal on standard input, while this is in the foreground."""

    def __init__(self) -> None:
        """Look whether there is one."""
        self._descriptor = sys.__stdin__.fileno() if sys.__stdin__ else -1
        self.there = self._descriptor >= 0 and os.isatty(self._descriptor)

    def pressed(self) -> list[Key]:
        """Return what was pressed since the last time; never waits.

        A job in the background must not read: the kernel would stop it.
        """
        if not self.there or not self._is_ours():
            return []
        if not select.select([self._descriptor], [], [], 0)[0]:
            return []
        data = os.read(self._descriptor, READ_BYTES)
        self.there = bool(data)
        return keys_in(data)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Have keys sent as they are pressed, without an echo; Ctrl-C stays what it is.

        Neither change waits until the terminal has shown everything: one at Ctrl-S never does.
        """
        if not self.there or not self._is_ours():
            yield
            return
        before = termios.tcgetattr(self._descriptor)
        tty.setcbreak(self._descriptor, termios.TCSANOW)
        try:
            yield
        finally:
            if self._is_ours():
                termios.tcsetattr(self._descriptor, termios.TCSANOW, before)

    def _is_ours(self) -> bool:
        try:
            return os.tcgetpgrp(self._descriptor) == os.getpgrp()
        except OSError:  # the terminal has gone
            return False
