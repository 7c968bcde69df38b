"""The relay's event loop: forwards bytes between clients and the gRPC server, or fails to.

All of it runs in one thread, which ``rover.backend.relay`` starts and hands its changes.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK: Final = 65_536
"""Bytes held for one direction of one connection."""
CONNECTIONS: Final = 1_000
"""More are closed as soon as they are there."""
BACKLOG: Final = 128
TICK: Final = 0.05
"""Seconds between two looks at a slow reader's token bucket, and at a full descriptor table."""
ACCEPT_PAUSE: Final = 0.5
"""Seconds without accepting after the descriptor table was full."""

_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: close() sends RST instead of FIN."""

log = logging.getLogger("rover.backend")


@dataclass(slots=True)
class _Side:
    """One end of a connection and the bytes that wait to be written to it."""

    sock: socket.socket
    pending: bytearray = field(default_factory=bytearray)
    at_end: bool = False
    """Its peer sends nothing more."""


@dataclass(slots=True, eq=False)
class _Connection:
    client: _Side
    server: _Side

    def other(self, side: _Side) -> _Side:
        return self.server if side is self.client else self.client


class Forwarder:
    """The listener, its connections and the faults that are applied to them.

    Args:
        bound: Makes a socket that holds the port and does not listen yet.
    """

    def __init__(self, bound: Callable[[], socket.socket]) -> None:
        self._bound = bound
        self._target = ""
        """Unix socket of the gRPC server; empty while there is none."""
        self._selector = selectors.DefaultSelector()
        self._listener: socket.socket | None = None
        self._connections: set[_Connection] = set()
        self._refusing = False
        self._stalled = False
        self._rate: float | None = None
        self._bucket = 0.0
        """Bytes that a slow reader may take now: a token bucket."""
        self._refilled_at = 0.0
        self._exhausted = False
        """The bucket is empty, and a client may have more to be read."""
        self._resets = 0
        self._accept_paused = False
        """The descriptor table is full, or was a moment ago."""
        self._accept_again_at = 0.0

    def run_once(self, wake: socket.socket) -> None:
        """Forward what is there; return after one round, or as soon as ``wake`` can be read."""
        self._register(wake, selectors.EVENT_READ, wake)
        timed = self._exhausted or self._accept_paused
        for key, mask in self._selector.select(TICK if timed else None):
            if key.data is wake:
                with contextlib.suppress(BlockingIOError):
                    wake.recv(CHUNK)
            elif key.data is self._listener:
                self._accept(self._listener)
            else:
                connection, side = key.data
                if connection in self._connections:
                    self._forward(connection, side, mask)
        self._resume()

    def close(self) -> None:
        """Close everything; clients see their connections end."""
        self._drop_all(reset=False)
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self._selector.close()

    def set_target(self, target: str) -> None:
        """Forward new connections there; empty: be as a server that is not there."""
        self._target = target
        self._update_listener()

    def set_refusing(self, *, on: bool) -> None:
        """Reset open connections and refuse new ones."""
        self._refusing = on
        self._update_listener()

    def set_stalled(self, *, on: bool) -> None:
        """Forward nothing and accept nothing; bytes on their way wait."""
        self._stalled = on
        self._update_listener()
        self._watch_all()

    def set_rate(self, rate: float | None) -> None:
        """Read so many bytes a second from clients; None: as fast as can be."""
        self._rate = rate
        self._exhausted = False
        self._bucket = 0.0
        self._refilled_at = time.monotonic()
        self._watch_all()

    def set_resets(self, following: int) -> None:
        """Reset so many of the connections that follow."""
        self._resets = following

    def reset_all(self) -> None:
        """Reset open connections."""
        self._drop_all(reset=True)

    def _resume(self) -> None:
        """Resume what only time was missing for."""
        if self._accept_paused and time.monotonic() >= self._accept_again_at:
            self._accept_paused = False
            self._update_listener()
        if self._rate is None:
            return
        now = time.monotonic()
        burst = max(1.0, self._rate * 2 * TICK)
        self._bucket = min(burst, self._bucket + self._rate * (now - self._refilled_at))
        self._refilled_at = now
        if self._exhausted and self._bucket >= 1:
            self._exhausted = False
            self._watch_all()

    def _accept(self, listener: socket.socket) -> None:
        """Take one connection; a further one wakes the thread again."""
        try:
            sock, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError, InterruptedError):
            return
        except OSError as error:
            self._pause_accepting(error)
            return
        if self._resets > 0 or len(self._connections) >= CONNECTIONS:
            self._resets = max(self._resets - 1, 0)
            _close(sock, reset=True)
            return
        try:
            server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        except OSError as error:
            _close(sock, reset=True)
            self._pause_accepting(error)
            return
        try:
            server.settimeout(0.0)
            server.connect(self._target)
            sock.settimeout(0.0)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            log.warning("connection not forwarded error=%s", error)
            _close(server)
            _close(sock, reset=True)
            return
        connection = _Connection(_Side(sock), _Side(server))
        self._connections.add(connection)
        self._watch(connection)

    def _pause_accepting(self, error: OSError) -> None:
        """Accept nothing for a moment: a full descriptor table would wake the thread for ever."""
        log.warning("connection not accepted error=%s", error)
        self._accept_paused = True
        self._accept_again_at = time.monotonic() + ACCEPT_PAUSE
        self._update_listener()

    def _forward(self, connection: _Connection, side: _Side, mask: int) -> None:
        other = connection.other(side)
        try:
            if mask & selectors.EVENT_READ and (room := self._room(connection, side)):
                data = side.sock.recv(room)
                side.at_end = not data
                other.pending += data
                if side is connection.client and self._rate is not None:
                    self._bucket -= len(data)
                _flush(other)
            if mask & selectors.EVENT_WRITE:
                _flush(side)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._drop(connection)
            return
        if (side.at_end and not other.pending) or (other.at_end and not side.pending):
            self._drop(connection)
            return
        self._watch(connection)

    def _room(self, connection: _Connection, side: _Side) -> int:
        """Bytes that may be read from a side now."""
        if self._stalled or side.at_end:
            return 0
        room = CHUNK - len(connection.other(side).pending)
        if side is connection.client and self._rate is not None:
            self._exhausted = self._exhausted or self._bucket < 1
            room = min(room, int(self._bucket))
        return max(room, 0)

    def _watch(self, connection: _Connection) -> None:
        for side in (connection.client, connection.server):
            wanted = selectors.EVENT_READ if self._room(connection, side) else 0
            if side.pending and not self._stalled:
                wanted |= selectors.EVENT_WRITE
            self._register(side.sock, wanted, (connection, side))

    def _watch_all(self) -> None:
        for connection in self._connections:
            self._watch(connection)

    def _register(self, sock: socket.socket, wanted: int, served: object) -> None:
        key = self._selector.get_map().get(sock)
        if key is None:
            if wanted:
                self._selector.register(sock, wanted, served)
        elif not wanted:
            self._selector.unregister(sock)
        elif key.events != wanted:
            self._selector.modify(sock, wanted, served)

    def _update_listener(self) -> None:
        """Open, close or pause the listener as the target and the faults say."""
        if not self._target or self._refusing:
            self._drop_all(reset=True)
            if self._listener is not None:
                self._register(self._listener, 0, self._listener)
                self._listener.close()
                self._listener = None
            return
        if self._listener is None:
            listener = self._bound()
            try:
                listener.settimeout(0.0)
                listener.listen(BACKLOG)
            except OSError:
                listener.close()
                raise
            self._listener = listener
        paused = self._stalled or self._accept_paused
        self._register(self._listener, 0 if paused else selectors.EVENT_READ, self._listener)

    def _drop_all(self, *, reset: bool) -> None:
        for connection in tuple(self._connections):
            self._drop(connection, reset=reset)

    def _drop(self, connection: _Connection, *, reset: bool = False) -> None:
        self._connections.discard(connection)
        for side in (connection.client, connection.server):
            self._register(side.sock, 0, None)
        _close(connection.client.sock, reset=reset)
        _close(connection.server.sock)


def _flush(side: _Side) -> None:
    if side.pending:
        sent = side.sock.send(side.pending)
        del side.pending[:sent]


def _close(sock: socket.socket, *, reset: bool = False) -> None:
    with contextlib.suppress(OSError):
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        sock.close()
