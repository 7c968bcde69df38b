"""Where the agent listens: on a port for whoever reaches it, on a Unix socket for its own kind."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rover.config.address import listener
from rover.errors import RoverError, StateError

if TYPE_CHECKING:
    from collections.abc import Hashable

BACKLOG: Final = 1_024
"""Connections that the kernel keeps until they are accepted: more than a neighbour's thousand, so
that one which comes after them waits its turn and is not lost."""
SOCKET_FILE: Final = "rover.sock"
MOST_PATH: Final = 107
"""Bytes of a Unix socket's path, unix(7)."""
CREDENTIALS: Final = struct.Struct("3i")
"""struct ucred: pid, uid, gid."""


class PortListener:
    """A TCP port, of one address or of all."""

    name = "port"

    def __init__(self, address: str) -> None:
        """Listen on HOST:PORT or :PORT; IPv6 hosts stand in brackets.

        Raises:
            RoverError: the address is not of this form, or cannot be listened on.
        """
        try:
            self.host, port = listener(address)
        except ValueError as error:
            raise RoverError(f"status.addr {address!r}: {error}") from error
        family = _family(self.host)
        try:
            self.listening = socket.create_server(
                (self.host, port),
                family=family,
                backlog=BACKLOG,
                dualstack_ipv6=family is socket.AF_INET6 and not self.host,
            )
        except OSError as error:
            raise RoverError(
                f"cannot serve status on {address}: {error.strerror or error}; "
                "choose another status.addr, or leave it empty for none"
            ) from error
        self.port = int(self.listening.getsockname()[1])

    def peer(self, client: socket.socket, address: object) -> Hashable:  # noqa: ARG002
        """Tell the client's IP address."""
        match address:
            case (str(host), *_):
                return host
        return None


class SocketListener:
    """``rover.sock`` in the state directory, which the agent must hold: for root and its own user.

    The file's mode lets nobody else connect, and the kernel tells who did.
    """

    name = "socket"

    def __init__(self, state_dir: Path | str) -> None:
        """Listen; what an agent that was killed has left there is replaced.

        Raises:
            StateError: there can be none in this directory, for the reason that it tells.
        """
        directory = Path(state_dir).absolute()
        self.path = directory / SOCKET_FILE
        self._allowed = frozenset({0, os.geteuid()})
        if (size := len(os.fsencode(self.path))) > MOST_PATH:
            raise StateError(
                f"the path {self.path} has {size} bytes, and a socket's may have {MOST_PATH}; "
                "name a shorter directory with --state-dir"
            )
        try:
            if directory.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise StateError(
                    f"{directory} can be written by others, who could put a socket of their own "
                    f"in the place of the agent's; chmod go-w {directory}"
                )
            _remove_stale(self.path)
            self.listening = _bound(self.path)
            self._file = self.path.stat()
        except OSError as error:
            raise StateError(
                f"cannot make the socket {self.path}: {error.strerror or error}; "
                "give a directory that the agent may write with --state-dir"
            ) from error

    def peer(self, client: socket.socket, address: object) -> Hashable:  # noqa: ARG002
        """Tell the client's process.

        Raises:
            PermissionError: it is neither root's nor the agent's own user's.
        """
        pid, uid = credentials(client)
        if uid not in self._allowed:
            raise PermissionError("root and the agent's own user alone may ask here")
        return pid

    def remove(self) -> None:
        """Take the file away, where it still is the one that was made."""
        with contextlib.suppress(OSError):
            if os.path.samestat(self.path.lstat(), self._file):
                self.path.unlink()


def credentials(connected: socket.socket) -> tuple[int, int]:
    """Return the pid and the uid of the process at the other end of a Unix socket.

    Raises:
        OSError: it is gone.
    """
    size = CREDENTIALS.size
    told = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    pid, uid, _ = CREDENTIALS.unpack(told)
    return pid, uid


def _bound(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # bind makes the file with the socket's own mode, so it is never open to others
        os.fchmod(listening.fileno(), 0o600)
        listening.bind(os.fspath(path))
        listening.listen(BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


def _remove_stale(path: Path) -> None:
    """Remove a socket that nobody listens on.

    Raises:
        OSError: somebody does, or it cannot be removed.
        StateError: something else has its name.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise StateError(f"{path} is no socket, and its name is the agent's; move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asker:
        asker.settimeout(1)
        if asker.connect_ex(os.fspath(path)) == 0:
            raise OSError(errno.EADDRINUSE, "another agent listens on it")
    path.unlink()


def _family(host: str) -> socket.AddressFamily:
    """Tell what to listen with; every address is those of both families, where the host has both.

    A cluster's pods may have addresses of either family alone.
    """
    both = not host and socket.has_dualstack_ipv6()
    return socket.AF_INET6 if both or ":" in host else socket.AF_INET
