"""Follow one kind of object in the cluster: list all, then watch what changes.

A thread per watch turns what the API sends into records and messages; it owns no state but the
version it has seen. Whatever goes wrong ends in one of two ways: watch on from that version, or
list again and let the receiver take the difference. Between attempts it waits, ever longer and at
random, so that a cluster's agents do not come back in the same second.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from rover.guard import Defect, Guard
from rover.k8s.faults import STALE, ApiFault, Cause, status_fault
from rover.k8s.lists import ListReader
from rover.k8s.objects import MalformedObjectError, describe, resource_version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rover.k8s.access import Access
    from rover.k8s.records import Message

log = logging.getLogger("rover.k8s")

R = TypeVar("R")

PAGE: Final = 500
"""Objects a page of a list: what the official clients ask for."""
MAX_RETRY_AFTER: Final = 300.0
"""Seconds for which a server is left alone at most, whatever it asks for."""
_NAMED: Final = 64
"""Unreadable objects that get a line in the log."""
_OF_VERSION: Final = frozenset({Cause.REFUSED, Cause.NOT_FOUND})
"""May well be about the version: one of the future, as after etcd was restored from a backup, is
answered by a 504, one of another server by a 400. Met twice in a row they end in a new list."""
_EXPIRIES: Final = 4
"""Expired versions in a row that are one too many."""
_HTTP_GONE: Final = 410


@dataclass(frozen=True, slots=True)
class Timing:
    """Times of a watch, in seconds."""

    server_timeout: float = 240.0
    """How long the server may keep a watch open, give or take a quarter at random."""
    silence: float = 15.0
    """How much longer than that nothing may come before the server counts as hung. Shorter than
    the timeout it would end healthy idle watches."""
    status: float = 70.0
    """For the status of an answer to a watch, which comes at once unless the server has it queue
    (priority and fairness, a minute at most)."""
    bookmarks: float = 150.0
    """Silence after a bookmark: they come about every minute, from servers that send them."""
    list_silence: float = 15.0
    """Pause between two bytes of a list after which the server counts as hung."""
    list_within: float = 120.0
    """For a whole page of a list."""
    backoff: float = 0.5
    """The first pause after a failure lies between 0 and this; it doubles with each further one."""
    backoff_most: float = 30.0
    lasting: float = 10.0
    """A watch that held so long shows that all is well again."""
    refresh_pause: float = 10.0
    """Between two lists that `Watch.refresh` asks for."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[R]):
    """What is watched, and what becomes of it."""

    resource: str
    """As RBAC calls it: ``pods``."""
    path: str
    query: Mapping[str, str]
    """Selectors."""
    record: Callable[[Any], R | None]
    """Cuts an object down; None where it is of no interest, MalformedObjectError where it is no
    object at all."""
    listed: Callable[[tuple[R, ...]], Message]
    seen: Callable[[R], Message]
    gone: Callable[[R], Message]


@dataclass(frozen=True, slots=True)
class WatchState:
    """How a watch is doing, for health checks and metrics."""

    resource: str
    listed: bool
    """A list has come at least once."""
    fault: str
    """What is wrong now; "" while all is well."""
    since: float
    """time.monotonic() since when it is so."""
    counts: Mapping[str, int]
    """Lists, watches, events, bookmarks, unreadable objects, and faults by cause."""


class Watch(Generic[R]):
    """One list and watch in a thread of its own."""

    def __init__(
        self,
        kind: Kind[R],
        access: Access,
        post: Callable[[Message], object],
        *,
        timing: Timing | None = None,
        guard: Guard | None = None,
    ) -> None:
        """Prepare; nothing is asked before `start`.

        Args:
            kind: what to watch.
            access: to the API, this thread's own.
            post: takes a message; False where it has no room for it. Called by the thread.
            timing: times, where not the usual ones.
            guard: runs each turn and reads each object, so that a defect costs that alone.
        """
        self._kind = kind
        self._access = access
        self._post = post
        self._timing = timing or Timing()
        self._guard, self._where = guard or Guard(), f"watch {kind.resource}"
        self._version = ""
        self._latest = False
        self._failures = self._expiries = 0
        self._fault, self._since = "", time.monotonic()
        self._told: Cause | None = None
        self._counts: Counter[str] = Counter()
        self._random = random.Random()  # noqa: S311 - spreads load, keeps no secret
        self._unreadable: dict[str, str] = {}
        self._listed_at = self._refreshed_at = -self._timing.refresh_pause
        self._listed = threading.Event()
        self._relist = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"k8s-{kind.resource}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wait_listed(self, timeout: float) -> bool:
        """Wait until the first list has been posted."""
        return self._listed.wait(timeout)

    def refresh(self) -> bool:
        """List again soon: something is missing that should be known. Any thread.

        Returns:
            False where the last list is too recent to ask for another.
        """
        now = time.monotonic()
        if now - max(self._listed_at, self._refreshed_at) < self._timing.refresh_pause:
            return False
        self._refreshed_at = now
        self._relist.set()
        self._access.interrupt()
        return True

    def state(self) -> WatchState:
        """Tell how the watch is doing. Any thread."""
        return WatchState(
            self._kind.resource,
            self._listed.is_set(),
            self._fault,
            self._since,
            dict(self._counts),
        )

    def stop(self, timeout: float = 1.0) -> bool:
        """Post nothing more, break what is waited for and end.

        Returns:
            False where the thread has not ended in time: it can hang in a connect that nobody
            answers, and ends with that.
        """
        self._stopping.set()
        self._access.close()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            turn = self._guard.whole(self._where, self._turn)
            if isinstance(turn, Defect):
                self._version = ""  # what was under way is lost: all is listed again
                self._since = self._since if self._fault else time.monotonic()
                self._fault = f"fails by a defect of the agent: {turn.what}"
                self._stopping.wait(self._backoff())

    def _turn(self) -> None:
        """List if that is due, and watch until it ends one way or the other."""
        began = time.monotonic()
        try:
            if self._relist.is_set() or not self._version:
                self._list()
            self._follow()
        except ApiFault as fault:
            if not self._stopping.is_set() and not self._relist.is_set():
                self._meet(fault)
            return
        if time.monotonic() - began >= self._timing.lasting:
            self._failures = 0
        elif not self._relist.is_set():
            # A server that is going away ends its watches in order, and then is gone.
            self._stopping.wait(self._backoff())

    def _list(self) -> None:
        """Post all there is, and take the list's version to watch from.

        As the official clients do, the list may come from the server's cache, but from none that
        is behind what was seen already, unless a version has just expired: a consistent one makes
        it read the whole cluster's pods.
        """
        self._relist.clear()
        seen, self._version = self._version, ""
        try:
            records, version = self._pages({} if self._latest else {"resourceVersion": seen or "0"})
        except ApiFault as fault:
            if not seen or not _is_of_version(fault):
                raise
            records, version = self._pages({})
        self._counts["lists"] += 1
        self._tell(self._kind.listed(tuple(records)))
        self._version, self._latest = version, False
        self._listed_at = time.monotonic()
        self._listed.set()

    def _pages(self, page: dict[str, str]) -> tuple[list[R], str]:
        """Read a list page by page; return what it holds and its version."""
        kind, what = self._kind, f"list {self._kind.resource}"
        records: list[R] = []
        while True:
            query = {**kind.query, "limit": str(PAGE), **page}
            silence = self._timing.list_silence
            with self._access.get(kind.path, query, read_timeout=silence, what=what) as answer:
                reader = ListReader(answer.chunks(self._timing.list_within))
                try:
                    records += (r for r in map(self._read, reader.items()) if r is not None)
                except ValueError as error:
                    raise ApiFault(Cause.MALFORMED, f"{what}: {error}") from error
            following = reader.metadata.get("continue")
            if not following:
                break
            page = {"continue": str(following)}
        version = reader.metadata.get("resourceVersion")
        if not isinstance(version, str) or not version:
            raise ApiFault(Cause.MALFORMED, f"{what}: the list has no resourceVersion")
        return records, version

    def _follow(self) -> None:
        """Watch from the version seen last until the server ends it."""
        kind = self._kind
        wait = self._timing.server_timeout * self._random.uniform(0.75, 1.25)
        query = {
            **kind.query,
            "watch": "true",
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(max(1, int(wait))),
        }
        silence = wait + self._timing.silence
        what = f"watch {kind.resource}"
        with self._access.get(
            kind.path, query, read_timeout=silence, status_timeout=self._timing.status, what=what
        ) as answer:
            self._counts["watches"] += 1
            self._well()
            for line in answer.lines():
                if self._stopping.is_set() or self._relist.is_set():
                    return
                bookmarks = self._counts["bookmarks"]
                self._event(line)
                if self._counts["bookmarks"] > bookmarks:
                    answer.patience(min(silence, self._timing.bookmarks))
                # Not yet all well, but far from all lost.
                self._failures, self._expiries = min(self._failures, 1), 0

    def _event(self, line: bytes) -> None:
        what = f"watch {self._kind.resource}"
        try:
            event = json.loads(line)
            happened, item = event["type"], event["object"]
        except (ValueError, RecursionError, TypeError, KeyError) as error:
            # What it told is lost, so that only a new list helps.
            self._version = ""
            raise ApiFault(Cause.MALFORMED, f"{what}: an event that is none: {error}") from error
        if happened == "ERROR":
            raise _error_event(item, what)
        if happened == "BOOKMARK":
            self._counts["bookmarks"] += 1
        elif happened in {"ADDED", "MODIFIED", "DELETED"}:
            self._counts["events"] += 1
            record = self._read(item)
            if record is not None:
                gone = happened == "DELETED"
                self._tell(self._kind.gone(record) if gone else self._kind.seen(record))
        self._version = resource_version(item) or self._version

    def _read(self, item: object) -> R | None:
        """Cut an object down; one that cannot be is counted, and named once."""
        what = f"{self._kind.resource} {describe(item)}"
        record = self._guard.one("object", what, self._record, item)
        return None if isinstance(record, Defect) else record

    def _record(self, item: object) -> R | None:
        try:
            return self._kind.record(item)
        except MalformedObjectError as error:
            self._counts["unreadable"] += 1
            name = describe(item)
            if name not in self._unreadable and len(self._unreadable) < _NAMED:
                self._unreadable[name] = why = str(error)
                log.warning(
                    "object unreadable resource=%s name=%s: %s", self._kind.resource, name, why
                )
            return None

    def _tell(self, message: Message) -> None:
        if not self._stopping.is_set() and self._post(message) is False:
            self._version = ""  # it is lost, so that only a new list helps
            raise ApiFault(Cause.BEHIND, "the discovery thread is behind: too much news waits")

    def _meet(self, fault: ApiFault) -> None:
        """Draw the consequences of a fault, and wait as long as it deserves."""
        self._counts[f"fault {fault.cause.value}"] += 1
        unknown = fault.cause in _OF_VERSION and self._failures > 0
        if fault.cause is Cause.EXPIRED or (self._version and unknown):
            self._version, self._latest = "", True
        elif not self._version:
            # A consistent list hangs while etcd is away; the cache still answers.
            self._latest = False
        if fault.cause in STALE:
            try:
                self._access.renew()
            except ApiFault as unreadable:
                fault = unreadable
        expired = fault.cause is Cause.EXPIRED
        # One fault is everyday life: a server that restarts, a 403 of its first moments.
        self._expiries += expired
        if self._expiries >= _EXPIRIES if expired else self._failures:
            self._ill(fault)
        at_once = expired and not self._failures
        pause = self._backoff() + min(fault.retry_after, MAX_RETRY_AFTER)
        self._stopping.wait(0.0 if at_once else pause)

    def _backoff(self) -> float:
        most = min(self._timing.backoff_most, self._timing.backoff * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return self._random.uniform(0.0, most)

    def _ill(self, fault: ApiFault) -> None:
        if not self._fault:
            self._since = time.monotonic()
        self._fault = str(fault)
        if fault.cause is not self._told:
            self._told = fault.cause
            # as text: a record that is kept would keep the fault's frames, and their sockets
            log.warning("watch fails resource=%s: %s", self._kind.resource, self._fault)

    def _well(self) -> None:
        self._guard.well(self._where)
        if self._fault:
            log.info(
                "watch restored resource=%s after=%.1fs",
                self._kind.resource,
                time.monotonic() - self._since,
            )
            self._fault, self._since, self._told = "", time.monotonic(), None


def _is_of_version(fault: ApiFault) -> bool:
    """Tell whether a list failed for the version that it was to have at least.

    A server whose cache is behind says "Too large resource version" with a 504.
    """
    return fault.cause in {Cause.REFUSED, Cause.EXPIRED} or "resource version" in str(fault)


def _error_event(item: object, what: str) -> ApiFault:
    status = item if isinstance(item, dict) else {}
    code = status.get("code")
    if status.get("reason") in {"Expired", "Gone"}:
        code = _HTTP_GONE
    said = str(status.get("message") or status.get("reason") or "an ERROR event")
    details = status.get("details")
    seconds = details.get("retryAfterSeconds") if isinstance(details, dict) else None
    return status_fault(code if isinstance(code, int) else 0, said, what, str(seconds or ""))
