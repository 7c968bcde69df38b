"""An API server of a few resources over HTTP, with every fault that a watch can meet.

It keeps to the real one where a watch can tell the difference: versions grow over all resources,
lists come in pages, a watch replays from its version or answers 410, bookmarks come while nothing
happens, and nothing of an outage is replayed after a restart.
"""

from __future__ import annotations

import contextlib
import copy
import json
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

Key = tuple[str, str]

HISTORY = 10_000
"""Events kept at most; versions before them are too old."""

PATHS = {
    "/api/v1/pods": ("pods", "PodList", "v1"),
    "/api/v1/services": ("services", "ServiceList", "v1"),
}


@dataclass
class Fault:
    """What the next requests get instead of an answer."""

    status: int = 0
    times: int = 1
    passes: int = 0
    """Requests that still go through before."""
    resource: str = ""
    """Only requests for this one; "" for all."""
    verb: str = ""
    """``list``, ``watch`` or ``get``; "" for all."""
    headers: dict[str, str] = field(default_factory=dict)
    hang: float = 0.0
    """Seconds to keep silent, connection open, before hanging up."""
    reset: bool = False
    """Hang up at once, without an answer."""
    body: bytes | None = None
    """Sent with status 200 in place of the answer."""


@dataclass(eq=False)
class Stream:
    """One open watch."""

    resource: str
    connection: socket.socket
    silent: bool = False
    """Events are kept back: a server that hangs."""
    tail: bytes = b""
    """Raw bytes to send next."""
    end: str = ""
    """``clean`` or ``reset``: how to end it, after the tail."""


class ApiServer:
    """A server on a free port of the loopback; a context manager."""

    def __init__(
        self,
        *,
        token: str = "",
        bookmark_period: float = 0.2,
        tls: ssl.SSLContext | None = None,
        trickle: int = 0,
    ) -> None:
        self.token = token
        self.denied: set[tuple[str, str]] = set()
        """(verb, resource) that RBAC does not allow."""
        self.bookmark_period = bookmark_period
        self.trickle = trickle
        """Bytes a piece that bodies are sent in, 0 for all at once."""
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        """(verb, resource, query) of each request."""
        self.changed = threading.Condition()
        self.faults: list[Fault] = []
        self.tls = tls
        self._objects: dict[str, dict[Key, dict[str, Any]]] = {
            name: {} for name in ("pods", "services", "replicasets", "jobs")
        }
        self._version = 100
        self._oldest = 100
        self._history: list[tuple[int, str, str, dict[str, Any]]] = []
        self._streams: set[Stream] = set()
        self._port = 0
        self._http: ThreadingHTTPServer | None = None
        self._pages: dict[str, list[dict[str, Any]]] = {}
        self._page_number = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self._port}"

    @property
    def is_up(self) -> bool:
        return self._http is not None

    def start(self) -> None:
        server = self

        class Handler(_Handler):
            api = server

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 64

            def handle_error(self, *_: object) -> None:
                """Clients hang up; that is what they are here for."""

        self._http = Server(("127.0.0.1", self._port), Handler)
        if self.tls:
            self._http.socket = self.tls.wrap_socket(
                self._http.socket, server_side=True, do_handshake_on_connect=False
            )
        self._port = self._http.server_port
        threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

    def stop(self, how: str = "reset") -> None:
        """Go away; open watches end ``clean`` or by ``reset``."""
        http, self._http = self._http, None
        if http:
            http.shutdown()
            http.server_close()
        self.end_watches(how)

    def restart(self) -> None:
        """Come back as the real one does: every earlier version is gone."""
        self.start()
        self.expire()

    # --- the cluster's truth ---

    def put(self, resource: str, item: dict[str, Any]) -> None:
        """Create an object, or replace the one of its name."""
        item = copy.deepcopy(item)
        key = (item["metadata"]["namespace"], item["metadata"]["name"])
        with self.changed:
            known = self._objects[resource].get(key)
            if known and known["metadata"].get("uid") != item["metadata"].get("uid"):
                self._record("DELETED", resource, known)
                known = None
            self._objects[resource][key] = item
            self._record("MODIFIED" if known else "ADDED", resource, item)

    def delete(self, resource: str, namespace: str, name: str) -> None:
        with self.changed:
            item = self._objects[resource].pop((namespace, name))
            self._record("DELETED", resource, item)

    def objects(self, resource: str) -> dict[Key, dict[str, Any]]:
        with self.changed:
            return copy.deepcopy(self._objects.get(resource, {}))

    def keys(self, resource: str) -> set[Key]:
        with self.changed:
            return set(self._objects[resource])

    def _record(self, happened: str, resource: str, item: dict[str, Any]) -> None:
        self._version += 1
        item = copy.deepcopy(item)
        item["metadata"]["resourceVersion"] = str(self._version)
        key = (item["metadata"]["namespace"], item["metadata"]["name"])
        if happened != "DELETED":
            self._objects[resource][key] = item
        self._history.append((self._version, happened, resource, item))
        if len(self._history) > HISTORY:
            del self._history[: HISTORY // 2]
            self._oldest = self._history[0][0]
        self.changed.notify_all()

    # --- faults ---

    def fail(self, fault: Fault) -> None:
        """Let the next requests fail."""
        with self.changed:
            self.faults.append(fault)

    def expire(self) -> None:
        """Forget history: every version so far is too old, also for open watches."""
        with self.changed:
            self._version += 1
            self._oldest = self._version
            self._history.clear()
            self._pages.clear()
            self.changed.notify_all()

    def rewind(self) -> None:
        """Go on from an older version, as after a restore from a backup."""
        with self.changed:
            self._version = self._oldest = 10
            self._history.clear()
        self.end_watches()

    def end_watches(self, how: str = "reset", *, tail: bytes = b"", resource: str = "") -> int:
        """End open watches, after sending some raw bytes; return how many."""
        with self.changed:
            chosen = [s for s in self._streams if resource in ("", s.resource)]
            for stream in chosen:
                stream.tail, stream.end = tail, how
            self.changed.notify_all()
        return len(chosen)

    def send_raw(self, data: bytes, resource: str = "") -> None:
        """Put raw bytes into open watches, which go on."""
        with self.changed:
            for stream in self._streams:
                if resource in ("", stream.resource):
                    stream.tail += data
            self.changed.notify_all()

    def hang_watches(self) -> None:
        """Keep open watches open and silent."""
        with self.changed:
            for stream in self._streams:
                stream.silent = True

    def watching(self, resource: str = "") -> int:
        with self.changed:
            return sum(resource in ("", stream.resource) for stream in self._streams)

    # --- answers ---

    def take_fault(self, verb: str, resource: str) -> Fault | None:
        with self.changed:
            for fault in self.faults:
                if fault.resource in ("", resource) and fault.verb in ("", verb):
                    if fault.passes > 0:
                        fault.passes -= 1
                        continue
                    fault.times -= 1
                    if fault.times <= 0:
                        self.faults.remove(fault)
                    return fault
        return None

    def page(
        self, resource: str, query: dict[str, str]
    ) -> tuple[list[dict[str, Any]], dict[str, Any]] | None:
        """Return a page of a list with its metadata; None where its continue token is too old."""
        with self.changed:
            token = query.get("continue")
            if token:
                rest = self._pages.pop(token, None)
                if rest is None:
                    return None
            else:
                wanted = _node_of(query)
                rest = [i for i in self._objects[resource].values() if _on_node(i, wanted)]
            # The server's cache, which version "0" asks for, does not page.
            limit = int(query.get("limit") or 0)
            limit = limit if query.get("resourceVersion") != "0" else 0
            page, rest = (rest[:limit], rest[limit:]) if limit else (rest, [])
            metadata: dict[str, Any] = {"resourceVersion": str(self._version)}
            if rest:
                self._page_number += 1
                metadata["continue"] = f"page{self._page_number}"
                self._pages[metadata["continue"]] = rest
            return page, metadata

    @contextlib.contextmanager
    def stream(self, resource: str, connection: socket.socket) -> Iterator[Stream]:
        stream = Stream(resource, connection)
        with self.changed:
            self._streams.add(stream)
        try:
            yield stream
        finally:
            with self.changed:
                self._streams.discard(stream)

    def events_after(self, version: int, resource: str, node: str) -> list[tuple[str, Any]] | None:
        """Return what has happened since; None where that is no longer known. Called locked."""
        if version < self._oldest:
            return None
        return [
            (happened, item)
            for number, happened, of, item in self._history
            if number > version and of == resource and _on_node(item, node)
        ]

    @property
    def version(self) -> int:
        return self._version


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    api: ApiServer

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
        with self.api.changed:
            self.api.requests.append((verb, resource, query))
        fault = self.api.take_fault(verb, resource)
        if not self.api.is_up:
            self._reset()  # a connection that was kept alive
        elif fault:
            self._fail(fault)
        elif self.api.token and self.headers.get("authorization", "").lower() != (
            f"bearer {self.api.token}".lower()
        ):
            self._status(401, "Unauthorized", "Unauthorized")
        elif (verb, resource) in self.api.denied:
            said = f'{resource} is forbidden: User "rover" cannot {verb} resource "{resource}"'
            self._status(403, "Forbidden", said)
        elif name is not None:
            self._get(resource, name)
        elif verb == "list":
            self._list(resource, kind, version, query)
        else:
            self._watch(resource, query)

    def _get(self, resource: str, name: Key) -> None:
        item = self.api.objects(resource).get(name)
        if item is None:
            self._status(404, "NotFound", f"{resource} {name[1]} not found")
        else:
            self._body(200, json.dumps(item).encode())

    def _list(self, resource: str, kind: str, version: str, query: dict[str, str]) -> None:
        found = self.api.page(resource, query)
        if found is None:
            self._status(410, "Expired", "The provided continue parameter is too old")
            return
        items, metadata = found
        body = {"kind": kind, "apiVersion": version, "metadata": metadata, "items": items}
        self._body(200, json.dumps(body).encode())

    def _watch(self, resource: str, query: dict[str, str]) -> None:
        api, node = self.api, _node_of(query)
        version = int(query.get("resourceVersion") or api.version)
        if version > api.version:
            self._status(504, "Timeout", f"Too large resource version: {version}")
            return
        end = time.monotonic() + float(query.get("timeoutSeconds") or 1800)
        bookmark_at = time.monotonic() + api.bookmark_period
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with api.stream(resource, self.connection) as stream, contextlib.suppress(OSError):
            while True:
                lines: list[bytes] = []
                with api.changed:
                    if not stream.tail and not stream.end:
                        known = api.version
                        api.changed.wait_for(
                            lambda seen=version: api.version != seen or stream.tail or stream.end,
                            min(end, bookmark_at) - time.monotonic(),
                        )
                        known = api.version
                        events = api.events_after(version, resource, node)
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
                    lines.append(_line("ERROR", _gone()))
                    stream.end = stream.end or "clean"
                else:
                    lines += [_line(happened, item) for happened, item in events]
                    version = known
                if now >= bookmark_at:
                    bookmark_at = now + api.bookmark_period
                    lines.append(_line("BOOKMARK", {"metadata": {"resourceVersion": str(version)}}))
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
        step = self.api.trickle or len(body) or 1
        for at in range(0, len(body), step):
            self.wfile.write(body[at : at + step])

    def _chunk(self, data: bytes) -> None:
        step = self.api.trickle or len(data) or 1
        for at in range(0, len(data), step):
            piece = data[at : at + step]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))

    def _reset(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            socket.socket.shutdown(self.connection, socket.SHUT_RDWR)


def _line(happened: str, item: dict[str, Any]) -> bytes:
    return json.dumps({"type": happened, "object": item}).encode() + b"\n"


def _gone() -> dict[str, Any]:
    return {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old version"}


def _node_of(query: dict[str, str]) -> str:
    selector = query.get("fieldSelector", "")
    return selector.partition("=")[2] if selector.startswith("spec.nodeName=") else ""


def _on_node(item: dict[str, Any], node: str) -> bool:
    return not node or item.get("spec", {}).get("nodeName") == node
