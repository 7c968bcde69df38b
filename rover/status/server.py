"""Serves one listener in one thread, whoever connects and whatever they send.

Clients cost no thread. A request has to be complete, and later an answer read, within a time for
the whole of it. So many connections are held a peer and in all, and the oldest makes room for a
new one, which is read as soon as it is accepted: a probe that asks when it connects is answered,
while any number of others say little. What cannot be answered at once is made in threads that live
for one answer each. The thread keeps itself to a share of one core: a flood of connections waits
in the kernel's queue, in the order in which they came, and takes no time from discovery.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import select
import socket
import struct
import threading
import time
from dataclasses import dataclass, replace
from http import HTTPStatus
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, Protocol

from rover import metrics
from rover.status.http import Answer, Request, read, say
from rover.status.places import Places
from rover.status.rates import Rates

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from prometheus_client import Counter

    from rover.status.site import Later

P = ParamSpec("P")

log = logging.getLogger("rover.status")

SHARE: Final = 0.05
"""Of one core, for all that a listener's thread does in the long run."""
CREDIT: Final = 0.1
"""Seconds of processor time that may be saved up, for what comes at once."""
LONGEST_REST: Final = 0.05
"""Seconds that the thread rests at most after a round, for the sake of that share."""
A_ROUND: Final = 16
"""Connections accepted, and events handled, in a round at most: between two rounds it may rest."""
SLOW_ONES: Final = 4
"""Events handled in a round while more connections wait than it accepts."""
JOBS: Final = 4
"""Answers that are made in threads of their own at once."""
READ_BYTES: Final = 4_096
PIECES: Final = 32
"""Reads that a request may come in at most: byte by byte, it costs as much by each."""
UNREAD_BYTES: Final = 16_384
"""Of a body, or of more requests, that are read and forgotten so that a long answer arrives."""
SMALL_ANSWER: Final = 1_024
"""Bytes that the kernel takes at once and any client can: the connection ends with them."""
UNACKNOWLEDGED: Final = 10_000
"""Milliseconds for which the kernel keeps what a client that is gone has not taken."""
OF_DESCRIPTORS: Final = 4
"""One in so many of the descriptors that the process may have is a connection's at most."""
EVERYBODY: Final = ("127.0.0.1", "::1", "::ffff:127.0.0.1")
"""Where all of the host come from, those who flood and those who probe."""
RESET: Final = struct.pack("ii", 1, 0)
"""As SO_LINGER: forget what is unsent, keep nothing of the connection."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What all clients of a listener may take together."""

    requests: int = 1_024
    """Connections at most whose request is not complete. To hold one that says nothing costs less
    than to end it and to accept it again."""
    answers: int = 64
    """Connections at most whose answer is being made or sent."""
    buffered: int = 2**20
    """Bytes of incomplete requests together."""
    request_within: float = 5.0
    """Seconds from the connection to the complete request."""
    answer_within: float = 10.0
    """Seconds from there until the answer is read and the connection over."""


class Site(Protocol):
    """What is served."""

    def answer(self, request: Request) -> Answer | Later:
        """Answer, or say what makes the answer; called by the server's thread, never waits."""


class Listener(Protocol):
    """Where it is served, and to whom."""

    name: str
    """For figures and the log."""
    listening: socket.socket

    def peer(self, client: socket.socket, address: object) -> Hashable:
        """Tell whose the connection is, for the bounds.

        Raises:
            PermissionError: it may ask nothing; the message is for the client.
        """


class _Connection:
    """One client, from its connection to its end."""

    __slots__ = (
        "head_only",
        "leaves_at",
        "peer",
        "pieces",
        "places",
        "received",
        "rest",
        "socket",
        "unread",
        "watched",
    )

    def __init__(self, client: socket.socket, peer: Hashable, leaves_at: float) -> None:
        self.socket = client
        self.peer = peer
        self.leaves_at = leaves_at
        self.places: Places[_Connection] | None = None
        self.watched = False
        """Whether the kernel was asked to tell of it."""
        self.received = b""
        self.pieces = 0
        self.head_only = False
        self.rest: memoryview | None = None
        """Of the answer, what is not sent yet; None while there is no answer."""
        self.unread = UNREAD_BYTES


class Server:
    """Accepts, reads, answers and ends connections until it is closed."""

    def __init__(self, listener: Listener, bounds: Bounds | None = None) -> None:
        """Hold a listener; nothing is accepted before `serve`."""
        self._listener = listener
        self._bounds = bounds = _affordable(bounds or Bounds())
        self._asking: Places[_Connection] = Places(bounds.requests, bounds.requests // 2)
        self._answering: Places[_Connection] = Places(bounds.answers, bounds.answers // 2)
        self._jobs: dict[str, list[_Connection]] = {}
        self._made: SimpleQueue[tuple[str, Answer]] = SimpleQueue()
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.epoll()
        self._by_descriptor: dict[int, _Connection] = {}
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._defects: set[str] = set()
        self._buffered = 0
        self._more_wait = False
        self._rates = Rates()
        self._credit = CREDIT
        """Seconds of processor time that are left; below 0 there is more to do than is allowed."""
        self._counted: dict[tuple[Counter, str], Counter] = {}
        self._held = metrics.STATUS_CONNECTIONS.labels(listener.name)

    def serve(self, site: Site) -> None:
        """Begin to answer."""
        self._site = site
        name = f"status-{self._listener.name}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening and end all connections."""
        self._closing.set()
        os.eventfd_write(self._bell, 1)
        if self._thread:
            self._thread.join()
        for connection in list(self._by_descriptor.values()):
            self._end(connection)
        self._listener.listening.close()
        self._poll.close()
        os.close(self._bell)

    def _run(self) -> None:
        listening = self._listener.listening
        listening.settimeout(0)
        if listening.family != socket.AF_UNIX:  # connections have it of their listener
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED)
        self._poll.register(listening, select.EPOLLIN)
        self._poll.register(self._bell, select.EPOLLIN)
        at = time.monotonic()
        while not self._closing.is_set():
            # who waits to be accepted may be a probe; who is held has shown to be slow
            most = SLOW_ONES if self._more_wait else A_ROUND
            events = self._poll.poll(self._pause(), most)
            began = time.thread_time()
            rest = 0.0
            try:
                rest = self._round(events)
            except Exception as error:  # noqa: BLE001 - the others are served whatever one brings
                self._tell_once(error)
            now = time.monotonic()
            earned, spent = SHARE * (now - at), time.thread_time() - began
            self._credit = min(CREDIT, self._credit + earned) - spent
            at = now
            rest = max(rest, -self._credit / SHARE)
            if rest > 0:
                self._closing.wait(min(LONGEST_REST, rest))

    def _pause(self) -> float | None:
        """Return for how long nothing is due."""
        oldest = (self._asking.oldest(), self._answering.oldest())
        due = [connection.leaves_at for connection in oldest if connection]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _round(self, events: list[tuple[int, int]]) -> float:
        """Do a bounded amount of what there is to do; return for how long to rest at least."""
        self._end_late(time.monotonic())
        self._take_made()
        for descriptor, happened in events:
            connection = self._by_descriptor.get(descriptor)
            if connection is not None:
                self._guarded(connection, self._go_on, happened)
        # last: a new connection may have the descriptor of one that ended just now
        rest = self._accept()
        self._held.set(len(self._by_descriptor))
        return rest

    def _accept(self) -> float:
        """Accept some of those who wait; return for how long to rest, where none can be."""
        self._more_wait = False
        for _ in range(A_ROUND):
            try:
                client, address = self._listener.listening.accept()
            except BlockingIOError:
                return 0.0
            except ConnectionError:  # gone before it was accepted
                continue
            except OSError:  # no descriptor is left: the oldest gives its own back
                self._drop(self._asking.oldest() or self._answering.oldest(), "no_descriptor")
                return LONGEST_REST
            client.settimeout(0)
            self._welcome(client, address)
        self._more_wait = True
        return 0.0

    def _welcome(self, client: socket.socket, address: object) -> None:
        """Take a connection in, and read what it has sent already."""
        now = time.monotonic()
        refused = None
        try:
            peer = self._listener.peer(client, address)
        except PermissionError as error:
            peer, refused = None, say(HTTPStatus.FORBIDDEN, {"error": str(error)})
        except OSError:
            client.close()
            return
        connection = _Connection(client, peer, now + self._bounds.request_within)
        self._by_descriptor[client.fileno()] = connection
        if not self._rates.within(peer, now) and self._is_pressed() and peer not in EVERYBODY:
            # neither read nor ended: it would come again at once
            self._place(connection, self._asking)
            return
        if refused:
            self._guarded(connection, self._answer, refused)
        else:
            self._guarded(connection, self._read)
        if client.fileno() >= 0 and not connection.watched:
            self._place(connection, self._asking)
            self._watch(connection, select.EPOLLIN)

    def _is_pressed(self) -> bool:
        """Tell whether there is more to do than the share allows for long."""
        return self._credit < CREDIT / 2

    def _watch(self, connection: _Connection, events: int) -> None:
        if connection.watched:
            self._poll.modify(connection.socket, events)
        else:
            self._poll.register(connection.socket, events)
            connection.watched = True

    def _place(self, connection: _Connection, places: Places[_Connection]) -> None:
        if connection.places is not None:
            connection.places.leave(connection)
        connection.places = places
        self._drop(places.enter(connection), "made_room")

    def _guarded(
        self,
        connection: _Connection,
        act: Callable[Concatenate[_Connection, P], None],
        *arguments: P.args,
        **named: P.kwargs,
    ) -> None:
        """Go on with a connection; a defect that it brings out ends it alone."""
        try:
            act(connection, *arguments, **named)
        except OSError:  # reset by the client
            self._end(connection)
        except Exception as error:  # noqa: BLE001 - ends the connection, not the thread
            self._tell_once(error)
            self._drop(connection, "defect")

    def _go_on(self, connection: _Connection, happened: int) -> None:
        if connection.rest:
            self._sent(connection, _send(connection.socket, connection.rest))
        elif happened & select.EPOLLIN:
            self._read(connection)
        elif happened & (select.EPOLLHUP | select.EPOLLERR):
            self._end(connection)

    def _read(self, connection: _Connection) -> None:
        try:
            data = connection.socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._end(connection)
        elif connection.places is self._answering:
            connection.unread -= len(data)
            if connection.unread < 0:
                self._drop(connection, "too_much")
        else:
            connection.received += data
            connection.pieces += 1
            self._buffered += len(data)
            asked = read(connection.received)
            if asked is not None:
                self._react(connection, asked)
            elif connection.pieces >= PIECES:
                self._drop(connection, "in_pieces")
            elif self._buffered > self._bounds.buffered:
                self._drop(connection, "no_room")

    def _react(self, connection: _Connection, asked: Request | Answer) -> None:
        if isinstance(asked, Answer):
            answer: Answer | Later = asked
        else:
            connection.head_only = asked.head_only
            answer = self._site.answer(asked)
        if isinstance(answer, Answer):
            self._answer(connection, answer)
        elif answer.subject in self._jobs:
            self._await(connection, answer)
        elif len(self._jobs) < JOBS:
            self._await(connection, answer)
            threading.Thread(
                target=self._make, args=(answer,), name="status-answer", daemon=True
            ).start()
        else:
            busy = {"error": f"{JOBS} answers are being made, ask again"}
            self._answer(connection, say(HTTPStatus.SERVICE_UNAVAILABLE, busy))

    def _await(self, connection: _Connection, answer: Later) -> None:
        self._enter_answering(connection)
        self._watch(connection, 0)  # until then only a reset is of interest
        self._jobs.setdefault(answer.subject, []).append(connection)

    def _make(self, later: Later) -> None:
        """Make an answer; in a thread of its own."""
        try:
            answer = later.make()
        except Exception as error:  # noqa: BLE001 - the asker is told, the log has it
            self._tell_once(error)
            answer = say(
                HTTPStatus.INTERNAL_SERVER_ERROR,
                {"error": "the agent itself fails on this; its log has the traceback"},
            )
        self._made.put((later.subject, answer))
        if not self._closing.is_set():
            os.eventfd_write(self._bell, 1)

    def _take_made(self) -> None:
        try:
            os.eventfd_read(self._bell)
        except BlockingIOError:
            return
        while True:
            try:
                subject, answer = self._made.get_nowait()
            except Empty:
                return
            for connection in self._jobs.pop(subject):
                if connection.socket.fileno() >= 0:
                    self._guarded(connection, self._answer, answer)

    def _enter_answering(self, connection: _Connection) -> None:
        connection.leaves_at = time.monotonic() + self._bounds.answer_within
        self._forget_received(connection)
        self._place(connection, self._answering)

    def _answer(self, connection: _Connection, answer: Answer) -> None:
        self._count(metrics.STATUS_ANSWERS, str(answer.status.value))
        content = answer.sent(head_only=connection.head_only)
        rest = _send(connection.socket, memoryview(content))
        if not rest and len(content) <= SMALL_ANSWER:
            self._end(connection)
            return
        if connection.places is not self._answering:
            self._enter_answering(connection)
        self._sent(connection, rest)

    def _sent(self, connection: _Connection, rest: memoryview) -> None:
        """Go on with what is left to send; after all of it, wait for the client's end.

        The connection is not closed at once: what the client has sent beside its request would
        have the kernel reset it, and the answer with it; and what the client does not read would
        stay in the kernel, out of all bounds.
        """
        connection.rest = rest
        if rest:
            self._watch(connection, select.EPOLLOUT)
        else:
            connection.socket.shutdown(socket.SHUT_WR)
            self._watch(connection, select.EPOLLIN)

    def _end_late(self, now: float) -> None:
        for places in (self._asking, self._answering):
            while (oldest := places.oldest()) and oldest.leaves_at <= now:
                self._drop(oldest, "late")

    def _drop(self, connection: _Connection | None, why: str) -> None:
        """End a connection that goes on for too long, or that another needs the place of."""
        if connection is None:
            return
        self._count(metrics.STATUS_DROPPED, why)
        with contextlib.suppress(OSError):
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._end(connection)

    def _end(self, connection: _Connection) -> None:
        """End a connection; what the kernel has taken of an answer still arrives."""
        self._forget_received(connection)
        if connection.places is not None:
            connection.places.leave(connection)
        self._by_descriptor.pop(connection.socket.fileno(), None)
        connection.socket.close()

    def _count(self, figure: Counter, what: str) -> None:
        counted = self._counted.get((figure, what))
        if counted is None:
            counted = self._counted[figure, what] = figure.labels(self._listener.name, what)
        counted.inc()

    def _forget_received(self, connection: _Connection) -> None:
        self._buffered -= len(connection.received)
        connection.received = b""

    def _tell_once(self, error: Exception) -> None:
        """Log a defect with its traceback when it is the first of its kind."""
        kind = type(error).__name__
        if kind not in self._defects:
            self._defects.add(kind)
            log.error("status request failed by a defect, please report it", exc_info=error)


def _send(client: socket.socket, content: memoryview) -> memoryview:
    """Send what the kernel takes now; return the rest."""
    try:
        return content[client.send(content) :]
    except BlockingIOError:
        return content


def _affordable(bounds: Bounds) -> Bounds:
    """Keep the bounds to what the process's limit of descriptors allows.

    The lower limit, 1,024 in most shells, is raised first: it is there for programs that use
    select(2), and this is none.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OF_DESCRIPTORS * bounds.requests
    if 0 <= soft < wanted:
        soft = wanted if hard < 0 else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    most = bounds.requests if soft < 0 else max(4, soft // OF_DESCRIPTORS)
    return replace(bounds, requests=min(bounds.requests, most), answers=min(bounds.answers, most))
