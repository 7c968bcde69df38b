"""Standard error as the log's way out: whoever takes the text holds nobody up who writes it.

A pipe whose reader has stopped, a journal that hangs, a terminal at Ctrl-S or behind a connection
that is gone, a file whose server is away take nothing, and a write would wait for them without end,
with every thread that has something to say behind it.
"""

from __future__ import annotations

import io
import os
import select
import socket
import stat
import time
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TextIO

from rover.cli.file_writer import FileWriter
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
        self._way = _way_to(stream.fileno())
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


class _Way(NamedTuple):
    """A way to where a stream leads that waits for nobody."""

    put: Callable[[memoryview], int]
    """Takes a part and returns its bytes, or raises BlockingIOError; waits a moment at most."""
    has_room: Callable[[float], bool]
    """Tells whether something is taken within so many seconds."""
    close: Callable[[], None]


def _way_to(descriptor: int) -> _Way:
    """Find a way of the agent's own; others that write there go on to wait.

    Whether writes wait belongs to what was opened, which others share; a socket is told each time.
    """
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind):
        writer = FileWriter(descriptor)
        return _Way(writer.put, writer.has_room, writer.close)
    if stat.S_ISSOCK(kind):
        peer = socket.socket(fileno=os.dup(descriptor))
        return _Way(
            lambda part: peer.send(part, socket.MSG_DONTWAIT),
            partial(_has_room, peer.fileno()),
            peer.close,
        )
    if stat.S_ISFIFO(kind) or stat.S_ISCHR(kind):
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            own = os.open(f"/proc/self/fd/{descriptor}", flags)
        except OSError:  # another user's, as after su
            pass
        else:
            return _Way(partial(os.write, own), partial(_has_room, own), partial(os.close, own))
    return _Way(
        partial(_put_where_there_is_room, descriptor),
        partial(_has_room, descriptor),
        lambda: None,
    )


def _put_where_there_is_room(descriptor: int, part: memoryview) -> int:
    """Write so much that a pipe takes it without waiting, where it takes anything."""
    if not _has_room(descriptor, 0):
        raise BlockingIOError
    return os.write(descriptor, part[: select.PIPE_BUF])


def _has_room(descriptor: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(int(seconds * 1000)))
