"""One client's connection, from its beginning to its end."""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable

    from rover.status.places import Places

UNREAD_BYTES: Final = 16_384
"""Of a body, or of more requests, that are read and forgotten so that a long answer arrives."""
RESET: Final = struct.pack("ii", 1, 0)
"""As SO_LINGER: forget what is unsent, keep nothing of the connection."""


class Connection:
    """What is known of it."""

    __slots__ = (
        "head_only",
        "leaves_at",
        "peer",
        "pieces",
        "places",
        "received",
        "refused",
        "rest",
        "socket",
        "unread",
        "watched",
    )

    def __init__(
        self, client: socket.socket, peer: Hashable, refused: str, leaves_at: float
    ) -> None:
        """Begin.

        Args:
            client: connected, never waits.
            peer: whose it is, for the bounds.
            refused: why it may ask nothing; empty where it may.
            leaves_at: time.monotonic() of its end.
        """
        self.socket = client
        self.peer = peer
        self.refused = refused
        self.leaves_at = leaves_at
        self.places: Places[Connection] | None = None
        self.watched = False
        """Whether the kernel was asked to tell of it."""
        self.received = b""
        self.pieces = 0
        """Reads that it took so far."""
        self.head_only = False
        self.rest: memoryview | None = None
        """Of the answer, what is not sent yet; None while there is no answer."""
        self.unread = UNREAD_BYTES

    @property
    def is_open(self) -> bool:
        """Whether it has not been ended."""
        return self.socket.fileno() >= 0

    def send(self, content: memoryview) -> memoryview:
        """Send what the kernel takes now; keep and return the rest.

        Raises:
            OSError: the client has ended it.
        """
        with contextlib.suppress(BlockingIOError):
            content = content[self.socket.send(content) :]
        self.rest = content
        return content

    def forget_unsent(self) -> None:
        """Have the kernel keep nothing of it when it is closed."""
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
