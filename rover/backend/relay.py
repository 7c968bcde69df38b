"""The TCP relay before the gRPC server: forwards its connections, or makes them fail.

gRPC's own server can neither refuse, reset, stall nor slow down a connection. So clients connect to
this, and it connects to the server, which listens on a Unix socket of the host.
"""

from __future__ import annotations

import errno
import socket
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rover.backend.forwarding import Forwarder
from rover.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable

APPLY_TIMEOUT: Final = 10.0
"""Seconds for the thread to apply a change; it never waits for anything else."""

ADVICE: Final = {
    errno.EADDRINUSE: "another program listens there: end it, or choose another port, 0 for any",
    errno.EACCES: "ports below 1024 need root: choose a higher one",
    errno.EADDRNOTAVAIL: "this host has no such address: 127.0.0.1 and 0.0.0.0 always work",
}


@dataclass(slots=True)
class _Change:
    apply: Callable[[Forwarder], None]
    done: threading.Event = field(default_factory=threading.Event)
    error: BackendError | None = None


@dataclass(frozen=True, slots=True)
class _Running:
    thread: threading.Thread
    waker: socket.socket
    """A byte here makes the thread look at its changes."""
    sockets: tuple[socket.socket, ...]


class Relay:
    """A listener whose connections can be made to fail; a ``rover.backend.injection.Transport``.

    Args:
        host: Address or name to listen on.
        port: 0 for a free one.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._changes: deque[_Change] = deque()
        self._ended = threading.Event()
        self._running: _Running | None = None

    @property
    def port(self) -> int:
        """The port listened on, once it has started."""
        return self._port

    def start(self) -> None:
        """Take the port; connections are refused until ``up``.

        Raises:
            BackendError: The address cannot be listened on; the message says what to do.
        """
        holder = self._bound()
        self._port = holder.getsockname()[1]
        waker, wake = socket.socketpair()
        waker.settimeout(0.0)
        wake.settimeout(0.0)
        forwarder = Forwarder(self._bound)
        thread = threading.Thread(
            target=self._run, args=(forwarder, wake), name="rover-backend-relay", daemon=True
        )
        self._running = _Running(thread, waker, (holder, waker, wake))
        thread.start()

    def stop(self) -> None:
        """Close everything; clients see their connections end."""
        running = self._running
        if running is None:
            return
        self._apply(lambda _: self._ended.set())
        running.thread.join(APPLY_TIMEOUT)
        self._running = None
        for sock in running.sockets:
            sock.close()

    def up(self, target: str) -> None:
        """Accept connections, unless a fault refuses them.

        Args:
            target: Where the gRPC server listens, for ``connect`` on a Unix socket.
        """
        self._apply(lambda forwarder: forwarder.set_target(target))

    def down(self) -> None:
        """Reset all connections and refuse new ones, as a server that is not there."""
        self._apply(lambda forwarder: forwarder.set_target(""))

    def refuse(self, *, on: bool) -> None:
        """Reset open connections and refuse new ones."""
        self._apply(lambda forwarder: forwarder.set_refusing(on=on))

    def stall(self, *, on: bool) -> None:
        """Forward nothing and accept nothing; bytes on their way wait."""
        self._apply(lambda forwarder: forwarder.set_stalled(on=on))

    def throttle(self, bytes_per_second: float | None) -> None:
        """Read this slowly from clients, all together; None: as fast as can be."""
        self._apply(lambda forwarder: forwarder.set_rate(bytes_per_second))

    def reset(self, following: int) -> None:
        """Reset open connections and so many of those that follow."""
        self._apply(lambda forwarder: forwarder.set_resets(following))
        self._apply(Forwarder.reset_all)

    def stop_resets(self) -> None:
        """Reset no more of those that follow."""
        self._apply(lambda forwarder: forwarder.set_resets(0))

    def _apply(self, function: Callable[[Forwarder], None]) -> None:
        """Have the thread make a change, and return once it is made."""
        running = self._running
        if running is None or not running.thread.is_alive():
            return
        change = _Change(function)
        self._changes.append(change)
        try:
            running.waker.send(b"\0")
        except BlockingIOError:
            pass  # it has been woken often enough to see this change too
        except OSError:
            return  # stopped by another thread meanwhile
        if not change.done.wait(APPLY_TIMEOUT) and running.thread.is_alive():
            raise BackendError(f"the backend's relay applied no change for {APPLY_TIMEOUT:g} s")
        if change.error is not None:
            raise change.error

    def _run(self, forwarder: Forwarder, wake: socket.socket) -> None:
        try:
            while not self._ended.is_set():
                forwarder.run_once(wake)
                while self._changes:
                    change = self._changes.popleft()
                    try:
                        change.apply(forwarder)
                    except BackendError as error:
                        change.error = error
                    except OSError as error:
                        change.error = unusable(f"{self._host}:{self._port}", error)
                    change.done.set()
        finally:
            forwarder.close()

    def _bound(self) -> socket.socket:
        """Make a socket that holds the port without listening, so that connections are refused.

        SO_REUSEADDR lets it share the port with the listener, which comes and goes beside it;
        another program that listens there already is still an error.
        """
        where = f"{self._host}:{self._port}"
        try:
            found = socket.getaddrinfo(
                self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
        except OSError as error:
            raise unusable(where, error) from error
        family, kind, protocol, _, address = found[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
        except OSError as error:
            sock.close()
            raise unusable(where, error) from error
        return sock


def unusable(where: str, error: OSError) -> BackendError:
    """Say that an address cannot be listened on, and what to do about it."""
    advice = ADVICE.get(error.errno or 0, "give another address of this host or another port")
    return BackendError(f"cannot listen on {where}: {error.strerror or error}; {advice}")
