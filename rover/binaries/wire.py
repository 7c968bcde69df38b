"""What the agent and the child that reads binaries say to each other, over a stream socket.

A message is the sizes of two parts, JSON and bytes, and the parts. The agent bounds what it takes.
"""

from __future__ import annotations

import json
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any, Final

MAX_WORDS: Final = 1 << 20
MAX_BYTES: Final = 8 << 20
ROWS_AT_ONCE: Final = 65_536
ADDRESSES_AT_ONCE: Final = 4_096

_SIZES: Final = struct.Struct("<II")


class WireError(Exception):
    """The other side is gone, or says what is no message."""


def send(peer: socket.socket, words: Any, text: bytes = b"") -> None:  # noqa: ANN401  JSON
    """Send one message.

    Raises:
        OSError: the other side is gone, or takes nothing in time.
    """
    said = json.dumps(words).encode()
    peer.sendall(_SIZES.pack(len(said), len(text)) + said + text)


def receive(peer: socket.socket) -> tuple[Any, bytes]:
    """Take one message.

    Raises:
        WireError: see there.
        OSError: nothing came in time.
    """
    words, size = _SIZES.unpack(_exactly(peer, _SIZES.size))
    if words > MAX_WORDS or size > MAX_BYTES:
        raise WireError(f"a message of {words} and {size} bytes")
    said = _exactly(peer, words)
    text = _exactly(peer, size)
    try:
        return json.loads(said), text
    except ValueError as error:
        raise WireError(f"no message: {error}") from error


def _exactly(peer: socket.socket, size: int) -> bytes:
    text = bytearray()
    while len(text) < size:
        part = peer.recv(min(size - len(text), 1 << 20))
        if not part:
            raise WireError("the other side has ended")
        text += part
    return bytes(text)
