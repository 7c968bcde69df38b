"""What an operator or a probe may ask a running agent over HTTP.

``/metrics`` in Prometheus' format, ``/healthz`` (is every thread at work?), ``/readyz`` (has the
first scan been told?) and, to clients on the same host, ``/why?pid=N``. Off unless an address is
configured: an agent with privileges opens no port by itself. Nothing here changes anything.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import socket
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import parse_qs, urlsplit

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from rover.config.address import listener
from rover.errors import RoverError
from rover.metrics import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger("rover.status")

CLIENT_TIMEOUT: Final = 5.0
"""Seconds that a client may take to send its request or to read the answer."""
PID_DIGITS: Final = 10
"""Of the largest that a pid's type holds."""
CLIENTS: Final = 8
"""Requests answered at once; more are turned away, so that nobody exhausts the agent."""


class Answers(Protocol):
    """What the agent tells of itself; each may be asked from any thread."""

    def health(self) -> tuple[bool, Mapping[str, Any]]:
        """Tell whether every part works, and each part's state."""

    def readiness(self) -> tuple[bool, Mapping[str, Any]]:
        """Tell whether the first scan has been handed to the reporter, with details."""

    def why(self, pid: int) -> Mapping[str, Any] | None:
        """Explain what is reported of a process; None where there is no such process."""


class StatusServer:
    """Serves until closed, in threads of its own.

    It listens before there is anything to answer, so that an address that is taken is told before
    anything else begins; who asks meanwhile waits.
    """

    def __init__(self, address: str) -> None:
        """Listen on HOST:PORT or :PORT; IPv6 hosts stand in brackets.

        Raises:
            RoverError: the address is not of this form, or cannot be listened on.
        """
        try:
            host, port = listener(address)
        except ValueError as error:
            raise RoverError(f"status.addr {address!r}: {error}") from error
        server_class = type("_Server", (_Server,), {"address_family": _family(host)})
        try:
            self._server = server_class((host, port), _Handler)
        except OSError as error:
            raise RoverError(
                f"cannot serve status on {address}: {error.strerror or error}; "
                "choose another status.addr, or leave it empty for none"
            ) from error
        self._host = host
        self._thread: threading.Thread | None = None

    def serve(self, answers: Answers) -> None:
        """Begin to answer."""
        self._server.answers = answers
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="status", daemon=True
        )
        self._thread.start()
        log.info("status served address=%s:%d", self._host or "*", self.port)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop listening; requests under way may still finish."""
        if self._thread:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    answers: Answers

    def __init__(self, *args: Any) -> None:  # noqa: ANN401 - the base class's
        super().__init__(*args)
        self._places = threading.BoundedSemaphore(CLIENTS)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6 and not self.server_address[0]:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401, ARG002
        log.debug("status request failed client=%s error=%r", client_address, sys.exception())


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = CLIENT_TIMEOUT
    server_version = "rover"
    sys_version = ""

    def do_GET(self) -> None:
        target = urlsplit(self.path)
        if target.path == "/metrics":
            self._send(HTTPStatus.OK, generate_latest(REGISTRY), CONTENT_TYPE_LATEST)
        elif target.path == "/healthz":
            self._tell(*self.server.answers.health())
        elif target.path == "/readyz":
            self._tell(*self.server.answers.readiness())
        elif target.path == "/why":
            self._explain(parse_qs(target.query).get("pid", [""])[0])
        else:
            places = "/metrics, /healthz, /readyz and /why?pid=N"
            self._say(HTTPStatus.NOT_FOUND, {"error": f"there are {places}"})

    def _explain(self, pid: str) -> None:
        if not _is_loopback(self.client_address[0]):
            # an answer holds the command line, which may hold what is nobody else's business
            self._say(HTTPStatus.FORBIDDEN, {"error": "/why answers to this host alone"})
            return
        if not (pid.isascii() and pid.isdigit() and len(pid) <= PID_DIGITS):
            self._say(HTTPStatus.BAD_REQUEST, {"error": "say which: /why?pid=N"})
            return
        try:
            answer = self.server.answers.why(int(pid))
        except RoverError as error:
            self._say(HTTPStatus.SERVICE_UNAVAILABLE, {"error": str(error)})
            return
        if answer is None:
            self._say(HTTPStatus.NOT_FOUND, {"error": f"no live process with pid {pid} is known"})
        else:
            self._say(HTTPStatus.OK, answer)

    def _tell(self, fine: bool, detail: Mapping[str, Any]) -> None:  # noqa: FBT001 - an answer
        self._say(HTTPStatus.OK if fine else HTTPStatus.SERVICE_UNAVAILABLE, detail)

    def _say(self, status: HTTPStatus, content: Mapping[str, Any]) -> None:
        self._send(status, json.dumps(content, indent=1).encode() + b"\n", "application/json")

    def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - the base's
        log.debug(format, *args)


def _family(host: str) -> socket.AddressFamily:
    """Tell what to listen with; every address is those of both families, where the host has both.

    A cluster's pods may have addresses of either family alone.
    """
    both = not host and socket.has_dualstack_ipv6()
    return socket.AF_INET6 if both or ":" in host else socket.AF_INET


def _is_loopback(client: str) -> bool:
    ip = ipaddress.ip_address(client)
    # an IPv4 client of a socket for both families
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback
