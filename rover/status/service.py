"""All that a running agent serves of itself, from its start to its end."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from rover.errors import StateError
from rover.metrics import REGISTRY
from rover.status.bounds import Bounds
from rover.status.history import History
from rover.status.listeners import PortListener, SocketListener
from rover.status.server import Server
from rover.status.site import Figures, PortSite, SocketSite

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rover.log_level import LogLevel
    from rover.status.site import Answers

log = logging.getLogger("rover.status")

ON_SOCKET = Bounds(requests=32, answers=32)


class StatusService:
    """A port, where one is configured, and a socket in the state directory, where there can be one.

    It listens before there is anything to answer, so that an address that is taken is told before
    anything else begins; who asks meanwhile waits. Each is served apart from the other.
    """

    def __init__(self, address: str, state_dir: str) -> None:
        """Listen.

        Args:
            address: HOST:PORT or :PORT; empty for no port.
            state_dir: the directory that the agent holds.

        Raises:
            RoverError: the address is not of this form, or cannot be listened on.
        """
        self._port = PortListener(address) if address else None
        self._socket = _socket(state_dir)
        self._servers: list[Server] = []
        self._histories: list[History] = []

    def serve(self, answers: Answers, names: Iterable[str] = (), *, log_level: LogLevel) -> None:
        """Begin to answer.

        Args:
            answers: of the agent.
            log_level: can be changed on the socket.
            names: by which it may be asked on the port, beside its host's own and IP addresses.
        """
        figures = Figures()
        history = History(REGISTRY.collect)
        if self._port or self._socket:
            history.start()
            self._histories.append(history)
        if self._socket:
            site = SocketSite(answers, figures, history, log_level)
            self._start(Server(self._socket, ON_SOCKET), site)
            log.info("status served socket=%s", self._socket.path)
        if self._port:
            path = str(self._socket.path) if self._socket else ""
            hosts = (*names, self._port.host)
            self._start(Server(self._port), PortSite(answers, figures, history, hosts, path))
            log.info("status served address=%s:%d", self._port.host or "*", self._port.port)

    def _start(self, server: Server, site: PortSite | SocketSite) -> None:
        self._servers.append(server)
        server.serve(site)

    @property
    def port(self) -> int:
        """The port that is listened on; 0 where there is none."""
        return self._port.port if self._port else 0

    def close(self) -> None:
        """Stop listening, end all connections and remove the socket."""
        if self._socket:
            self._socket.remove()
        for history in self._histories:
            history.stop()
        for server in self._servers:
            server.close()
        for listener in (self._port, self._socket):
            if listener:
                listener.listening.close()


def _socket(state_dir: str) -> SocketListener | None:
    """Listen on the socket; say so where there can be none.

    An abstract socket, which needs no directory, would have no mode: everybody could connect.
    """
    try:
        return SocketListener(state_dir)
    except StateError as error:
        log.warning("status socket not served, nothing tells of single processes: %s", error)
        return None
