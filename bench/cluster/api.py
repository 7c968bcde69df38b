"""An API server of a few resources over HTTP, with every fault that a watch can meet.

It keeps to the real one where a watch can tell the difference: versions grow over all resources,
lists come in pages, a watch replays from its version or answers 410, bookmarks come while nothing
happens, and nothing of an outage is replayed after a restart.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from bench.cluster.http import Server
from bench.cluster.state import ServerState

if TYPE_CHECKING:
    import ssl


class ApiServer(ServerState):
    """A server on a free port of the loopback; a context manager."""

    def __init__(
        self,
        *,
        token: str = "",
        bookmark_period: float = 0.2,
        tls: ssl.SSLContext | None = None,
        trickle: int = 0,
    ) -> None:
        super().__init__(token=token, bookmark_period=bookmark_period, trickle=trickle)
        self.tls = tls
        self._port = 0
        self._http: Server | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Listen, after a stop on the port of before."""
        self._http = Server(self._port, self)
        self._port = self._http.server_port
        if self.tls:
            self._http.socket = self.tls.wrap_socket(
                self._http.socket, server_side=True, do_handshake_on_connect=False
            )
        self.is_up = True
        threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

    def stop(self, how: str = "reset") -> None:
        """Go away; open watches end ``clean`` or by ``reset``."""
        self.is_up = False
        http, self._http = self._http, None
        if http:
            http.shutdown()
            http.server_close()
        self.end_watches(how)

    def restart(self) -> None:
        """Come back as the real one does: every earlier version is gone."""
        self.start()
        self.expire()
