"""Ways of the agent's own to where a stream leads, on which no write waits for whoever takes it."""

from __future__ import annotations

import os
import select
import socket
import stat
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from rover.cli.file_writer import FileWriter

if TYPE_CHECKING:
    from collections.abc import Callable


class Way(NamedTuple):
    """A way to where a stream leads that waits for nobody."""

    put: Callable[[memoryview], int]
    """Takes a part and returns its bytes, or raises BlockingIOError; waits a moment at most."""
    has_room: Callable[[float], bool]
    """Tells whether something is taken within so many seconds."""
    close: Callable[[], None]


def way_to(descriptor: int) -> Way:
    """Find a way of the agent's own; others that write there go on to wait.

    Whether writes wait belongs to what was opened, which others share; a socket is told each time.
    """
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind):
        writer = FileWriter(descriptor)
        return Way(writer.put, writer.has_room, writer.close)
    if stat.S_ISSOCK(kind):
        peer = socket.socket(fileno=os.dup(descriptor))
        return Way(
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
            return Way(partial(os.write, own), partial(_has_room, own), partial(os.close, own))
    return Way(
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
