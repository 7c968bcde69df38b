"""What a request to the emulated API server meets: rights, faults on demand, open watches."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.cluster.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator


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
    silent: bool = False
    """Events are kept back: a server that hangs."""
    tail: bytes = b""
    """Raw bytes to send next."""
    end: str = ""
    """``clean`` or ``reset``: how to end it, after the tail."""


class ServerState(Store):
    """A cluster's objects behind a server that can be made to misbehave."""

    def __init__(self, *, token: str = "", bookmark_period: float = 0.2, trickle: int = 0) -> None:
        super().__init__()
        self.is_up = False
        self.token = token
        self.denied: set[tuple[str, str]] = set()
        """(verb, resource) that RBAC does not allow."""
        self.anonymous_auth = False
        """Whoever shows no valid token is an anonymous user, who may do nothing."""
        self.bookmark_period = bookmark_period
        self.trickle = trickle
        """Bytes a piece that bodies are sent in, 0 for all at once."""
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        """(verb, resource, query) of each request."""
        self.faults: list[Fault] = []
        self._streams: set[Stream] = set()

    def asked(self, verb: str, resource: str = "pods") -> list[dict[str, str]]:
        """Return the queries of all requests of a verb, in order."""
        return [query for was, of, query in self.requests if (was, of) == (verb, resource)]

    def fail(self, fault: Fault) -> None:
        """Let the next requests fail."""
        with self.changed:
            self.faults.append(fault)

    def restore_backup(self) -> None:
        """Go on from an older version, with no watch left."""
        super().restore_backup()
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
        self.send_raw(bookmark(self.version))

    def hang_watches(self) -> None:
        """Keep open watches open and silent."""
        with self.changed:
            for stream in self._streams:
                stream.silent = True

    def watching(self, resource: str = "") -> int:
        """Return how many watches are open."""
        with self.changed:
            return sum(resource in ("", stream.resource) for stream in self._streams)

    def take_fault(self, verb: str, resource: str) -> Fault | None:
        """Return what a request gets instead of its answer, once less from now on."""
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

    @contextlib.contextmanager
    def stream(self, resource: str) -> Iterator[Stream]:
        """Open a watch for the block."""
        stream = Stream(resource)
        with self.changed:
            self._streams.add(stream)
        try:
            yield stream
        finally:
            with self.changed:
                self._streams.discard(stream)


def watch_event(happened: str, item: dict[str, Any]) -> bytes:
    """Return a line of a watch."""
    return json.dumps({"type": happened, "object": item}).encode() + b"\n"


def bookmark(version: int) -> bytes:
    """Return the line that tells a watch how far it has come."""
    return watch_event("BOOKMARK", {"metadata": {"resourceVersion": str(version)}})
