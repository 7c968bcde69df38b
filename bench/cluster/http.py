"""The HTTP of the emulated API server: paths, verbs, streams and what a fault makes of them."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from bench.cluster.state import bookmark, watch_event
from bench.cluster.store import node_of

if TYPE_CHECKING:
    from bench.cluster.state import Fault, ServerState
    from bench.cluster.store import Key

PATHS = {
    "/api/v1/pods": ("pods", "PodList", "v1"),
    "/api/v1/services": ("services", "ServiceList", "v1"),
}


class Server(ThreadingHTTPServer):
    """Answers requests on the loopback by what a state says."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, port: int, state: ServerState) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.state = state

    def handle_error(self, *_: object) -> None:
        """Clients hang up; that is what they are here for."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    @property
    def state(self) -> ServerState:
        return self.server.state

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        resource, kind, version = PATHS.get(parts.path, ("", "", ""))
        verb = "watch" if query.get("watch") in ("1", "true") else "list"
        name: Key | None = None
        if not resource:
            fields = parts.path.split("/")
            if "namespaces" in fields:
                at = fields.index("namespaces")
                resource, verb = fields[at + 2], "get"
                name = (fields[at + 1], fields[at + 3])
        with self.state.changed:
            self.state.requests.append((verb, resource, query))
        fault = self.state.take_fault(verb, resource)
        if not self.state.is_up:
            self._reset()  # a connection that was kept alive
        elif fault:
            self._fail(fault)
        elif self.state.token and self.headers.get("authorization", "").lower() != (
            f"bearer {self.state.token}".lower()
        ):
            if self.state.anonymous_auth:
                self._status(403, "Forbidden", 'User "system:anonymous" cannot do that')
            else:
                self._status(401, "Unauthorized", "Unauthorized")
        elif (verb, resource) in self.state.denied:
            said = f'{resource} is forbidden: User "rover" cannot {verb} resource "{resource}"'
            self._status(403, "Forbidden", said)
        elif name is not None:
            self._get(resource, name)
        elif verb == "list":
            self._list(resource, kind, version, query)
        else:
            self._watch(resource, query)

    def _get(self, resource: str, name: Key) -> None:
        item = self.state.objects(resource).get(name)
        if item is None:
            self._status(404, "NotFound", f"{resource} {name[1]} not found")
        else:
            self._body(200, json.dumps(item).encode())

    def _list(self, resource: str, kind: str, version: str, query: dict[str, str]) -> None:
        if int(query.get("resourceVersion") or 0) > self.state.version:
            self._status(504, "Timeout", "Too large resource version")
            return
        found = self.state.page(resource, query)
        if found is None:
            self._status(410, "Expired", "The provided continue parameter is too old")
            return
        items, metadata = found
        body = {"kind": kind, "apiVersion": version, "metadata": metadata, "items": items}
        self._body(200, json.dumps(body).encode())

    def _watch(self, resource: str, query: dict[str, str]) -> None:
        state, node = self.state, node_of(query)
        version = int(query.get("resourceVersion") or state.version)
        if version > state.version:
            self._status(504, "Timeout", f"Too large resource version: {version}")
            return
        end = time.monotonic() + float(query.get("timeoutSeconds") or 1800)
        bookmark_at = time.monotonic() + state.bookmark_period
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with state.stream(resource) as stream, contextlib.suppress(OSError):
            while True:
                lines: list[bytes] = []
                with state.changed:
                    if not stream.tail and not stream.end:
                        known = state.version
                        state.changed.wait_for(
                            lambda seen=version: state.version != seen or stream.tail or stream.end,
                            min(end, bookmark_at) - time.monotonic(),
                        )
                        known = state.version
                        events = state.events_after(version, resource, node)
                    else:
                        known, events = version, []
                    tail, stream.tail = stream.tail, b""
                if stream.silent and not stream.end:
                    bookmark_at = end + 3600
                    version = known
                    time.sleep(0.01)
                    continue
                now = time.monotonic()
                if events is None:
                    lines.append(watch_event("ERROR", _gone()))
                    stream.end = stream.end or "clean"
                else:
                    lines += [watch_event(happened, item) for happened, item in events]
                    version = known
                if now >= bookmark_at:
                    bookmark_at = now + state.bookmark_period
                    lines.append(bookmark(version))
                self._chunk(b"".join(lines) + tail)
                if stream.end == "reset":
                    self._reset()
                    return
                if stream.end or now >= end:
                    self.wfile.write(b"0\r\n\r\n")
                    return

    def _fail(self, fault: Fault) -> None:
        if fault.hang:
            time.sleep(fault.hang)
        if fault.reset or fault.hang:
            self._reset()
        elif fault.body is not None:
            self._body(200, fault.body)
        else:
            self._status(fault.status, "Fault", "made to fail", fault.headers)

    def _status(
        self, code: int, reason: str, message: str, headers: dict[str, str] | None = None
    ) -> None:
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": code,
        }
        self._body(code, json.dumps(status).encode(), headers)

    def _body(self, code: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        step = self.state.trickle or len(body) or 1
        for at in range(0, len(body), step):
            self.wfile.write(body[at : at + step])

    def _chunk(self, data: bytes) -> None:
        step = self.state.trickle or len(data) or 1
        for at in range(0, len(data), step):
            piece = data[at : at + step]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))

    def _reset(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            socket.socket.shutdown(self.connection, socket.SHUT_RDWR)


def _gone() -> dict[str, Any]:
    return {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old version"}
