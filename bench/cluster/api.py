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
import threading
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from bench.cluster.http import Handler, node_of, on_node

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

Key = tuple[str, str]

HISTORY = 10_000
"""Events kept at most; versions before them are too old."""


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
        self.knows_strangers = False
        """Whoever shows no valid token is an anonymous user, who may do nothing."""
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

        class Bound(Handler):
            api = server

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 64

            def handle_error(self, *_: object) -> None:
                """Clients hang up; that is what they are here for."""

        self._http = Server(("127.0.0.1", self._port), Bound)
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

    def asked(self, verb: str, resource: str = "pods") -> list[dict[str, str]]:
        """Return the queries of all requests of a verb, in order."""
        return [query for was, of, query in self.requests if (was, of) == (verb, resource)]

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

    def send_bookmark(self) -> None:
        """Send a bookmark of the present version into open watches."""
        bookmark = {"metadata": {"resourceVersion": str(self.version)}}
        event = json.dumps({"type": "BOOKMARK", "object": bookmark})
        self.send_raw(event.encode() + b"\n")

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
                wanted = node_of(query)
                rest = [i for i in self._objects[resource].values() if on_node(i, wanted)]
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
            if number > version and of == resource and on_node(item, node)
        ]

    @property
    def version(self) -> int:
        return self._version
