"""Serves one listener in one thread, whoever connects and whatever they send.

Clients cost no thread. A request has to be complete, and later an answer read, within a time for
the whole of it. So many connections are held a peer and in all, and the oldest makes room for a
new one, which is read as soon as it is accepted: a probe that asks when it connects is answered,
while any number of others say little. What cannot be answered at once is made in threads that live
for one answer each. The thread keeps itself to a share of one core: a flood of connections waits
in the kernel's queue, in the order in which they came, and takes no time from discovery; peers that
connect more often than anyone needs to are then held off by the kernel for a while.
"""

from __future__ import annotations

import logging
import select
import socket
import threading
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, Protocol

from rover import metrics
from rover.status.bell import Bell
from rover.status.bounds import Bounds, affordable
from rover.status.connection import Connection
from rover.status.held_off import HeldOff
from rover.status.http import Answer, Request, read, say
from rover.status.making import Making
from rover.status.places import Places
from rover.status.rates import FLOOD, Rates
from rover.status.share import LONGEST_REST, Share

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from prometheus_client import Counter

    from rover.status.site import Later

P = ParamSpec("P")

log = logging.getLogger("rover.status")

PACE: Final = 0.15
"""Seconds to rest where one round follows another sooner than that, and nobody is left waiting: who
sends byte by byte would wake the thread for each."""
A_ROUND: Final = 16
"""Connections accepted, and events handled, in a round at most: between two rounds it may rest."""
SLOW_ONES: Final = 4
"""Events handled in a round while more connections wait than it accepts."""
READ_BYTES: Final = 4_096
PIECES: Final = 32
"""Reads that a request may come in at most: byte by byte, it costs as much by each."""
SMALL_ANSWER: Final = 1_024
"""Bytes that the kernel takes at once and any client can: the connection ends with them."""
UNACKNOWLEDGED: Final = 10_000
"""Milliseconds for which the kernel keeps what a client that is gone has not taken."""
EVERYBODY: Final = ("127.0.0.1", "::1", "::ffff:127.0.0.1")
"""Where all of the host come from, those who flood and those who probe."""


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


class Server:
    """Accepts, reads, answers and ends connections until it is closed."""

    def __init__(self, listener: Listener, bounds: Bounds | None = None) -> None:
        """Hold a listener; nothing is accepted before `serve`."""
        self._listener = listener
        self._is_private = listener.listening.family == socket.AF_UNIX
        """Whether those alone ask here whom the agent belongs to."""
        self._bounds = bounds = affordable(bounds or Bounds())
        self._asking: Places[Connection] = Places(bounds.requests, bounds.requests // 2)
        self._answering: Places[Connection] = Places(bounds.answers, bounds.answers // 2)
        self._bell = Bell()
        self._making = Making(self._bell, self._tell_once)
        self._awaiting: dict[str, list[Connection]] = {}
        self._poll = select.epoll()
        self._by_descriptor: dict[int, Connection] = {}
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._defects: set[str] = set()
        self._buffered = 0
        self._more_wait = False
        self._rates = Rates()
        self._share = Share(time.monotonic())
        self._held_off = HeldOff(listener.listening)
        self._counted: dict[tuple[Counter, str], Counter] = {}
        self._held = metrics.STATUS_CONNECTIONS.labels(listener.name)
        self._counted_off = metrics.STATUS_HELD_OFF.labels(listener.name)

    def serve(self, site: Site) -> None:
        """Begin to answer."""
        self._site = site
        name = f"status-{self._listener.name}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening and end all connections."""
        self._closing.set()
        self._bell.ring()
        if self._thread:
            self._thread.join()
        for connection in list(self._by_descriptor.values()):
            self._end(connection)
        self._listener.listening.close()
        self._poll.close()
        self._held.set(0)
        self._counted_off.set(0)
        self._bell.close()

    def _run(self) -> None:
        listening = self._listener.listening
        listening.settimeout(0)
        if not self._is_private:  # connections have it of their listener
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED)
        self._poll.register(listening, select.EPOLLIN)
        self._poll.register(self._bell, select.EPOLLIN)
        spent_before, round_before = time.thread_time(), 0.0
        while not self._closing.is_set():
            # who waits to be accepted may be a probe; who is held has shown to be slow
            most = SLOW_ONES if self._more_wait else A_ROUND
            events = self._poll.poll(self._pause(), most)
            rest = 0.0
            try:
                rest = self._round(events)
            except Exception as error:  # noqa: BLE001 - the others are served whatever one brings
                self._tell_once(error)
            spent, now = time.thread_time(), time.monotonic()
            rest = max(rest, self._share.spend(spent - spent_before, now))
            in_a_row = now - round_before < PACE and not self._is_private
            if in_a_row and len(events) < most and not self._more_wait:
                rest = max(rest, PACE)
            spent_before, round_before = spent, now
            if rest > 0:
                self._closing.wait(rest)

    def _pause(self) -> float | None:
        """Return for how long nothing is due."""
        oldest = (self._asking.oldest(), self._answering.oldest())
        due = [connection.leaves_at for connection in oldest if connection]
        due += [at for at in (self._held_off.due(),) if at is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _round(self, events: list[tuple[int, int]]) -> float:
        """Do a bounded amount of what there is to do; return for how long to rest at least."""
        now = time.monotonic()
        self._end_late(now)
        self._held_off.refresh(now)
        self._take_made()
        for descriptor, happened in events:
            connection = self._by_descriptor.get(descriptor)
            if connection is not None:
                self._guarded(connection, self._go_on, happened)
        # last: a new connection may have the descriptor of one that ended just now
        rest = self._accept()
        self._held.set(len(self._by_descriptor))
        self._counted_off.set(len(self._held_off))
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
        peer: Hashable = None
        refused = ""
        try:
            peer = self._listener.peer(client, address)
        except PermissionError as error:
            refused = str(error)
        except OSError:
            client.close()
            return
        leaves_at = now + self._bounds.request_within
        connection = Connection(client, peer, refused, leaves_at)
        self._by_descriptor[client.fileno()] = connection
        excess = self._excess(peer, now)
        floods = excess >= FLOOD or (excess > 0 and self._share.is_short)
        if floods and not _is_of_this_host(client, peer):
            # neither read nor ended: it would come again at once
            self._rates.held_off(peer, self._held_off.hold(peer, now))
            if _has_gone(client):
                self._end(connection)
            else:
                self._place(connection, self._asking)
            return
        self._guarded(connection, self._read)
        if connection.is_open and not connection.watched:
            self._place(connection, self._asking)
            self._watch(connection, select.EPOLLIN)

    def _excess(self, peer: Hashable, now: float) -> float:
        """Count a connection; return how many its peer makes beyond what anyone may.

        On the socket, where root and the agent's own user ask alone, there is no such number.
        """
        if peer in EVERYBODY or self._is_private:
            return 0.0
        return self._rates.excess(peer, now)

    def _watch(self, connection: Connection, events: int) -> None:
        if connection.watched:
            self._poll.modify(connection.socket, events)
        else:
            self._poll.register(connection.socket, events)
            connection.watched = True

    def _place(self, connection: Connection, places: Places[Connection]) -> None:
        if connection.places is not None:
            connection.places.leave(connection)
        connection.places = places
        self._drop(places.enter(connection), "made_room")

    def _guarded(
        self,
        connection: Connection,
        act: Callable[Concatenate[Connection, P], None],
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

    def _go_on(self, connection: Connection, happened: int) -> None:
        if connection.rest:
            self._sent(connection, connection.send(connection.rest))
        elif happened & select.EPOLLIN:
            self._read(connection)
        elif happened & (select.EPOLLHUP | select.EPOLLERR):
            self._end(connection)

    def _read(self, connection: Connection) -> None:
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

    def _react(self, connection: Connection, asked: Request | Answer) -> None:
        answer: Answer | Later
        if isinstance(asked, Answer):
            answer = asked
        elif connection.refused:
            answer = say(HTTPStatus.FORBIDDEN, {"error": connection.refused})
        else:
            connection.head_only = asked.head_only
            answer = self._site.answer(asked)
        if isinstance(answer, Answer):
            self._answer(connection, answer)
        elif self._making.begin(answer):
            self._await(connection, answer.subject)
        else:
            busy = {"error": "too many answers are being made, ask again"}
            self._answer(connection, say(HTTPStatus.SERVICE_UNAVAILABLE, busy))

    def _await(self, connection: Connection, subject: str) -> None:
        self._enter_answering(connection)
        self._watch(connection, 0)  # until then only a reset is of interest
        # those whose time has passed are forgotten, should the answer never come
        waiting = [other for other in self._awaiting.get(subject, ()) if other.is_open]
        self._awaiting[subject] = [*waiting, connection]

    def _take_made(self) -> None:
        if not self._bell.heard():
            return
        for subject, answer in self._making.made():
            for connection in self._awaiting.pop(subject, ()):
                if connection.is_open:
                    self._guarded(connection, self._answer, answer)

    def _enter_answering(self, connection: Connection) -> None:
        connection.leaves_at = time.monotonic() + self._bounds.answer_within
        self._forget_received(connection)
        self._place(connection, self._answering)

    def _answer(self, connection: Connection, answer: Answer) -> None:
        self._count(metrics.STATUS_ANSWERS, str(answer.status.value))
        content = answer.sent(head_only=connection.head_only)
        rest = connection.send(memoryview(content))
        if not rest and len(content) <= SMALL_ANSWER:
            self._end(connection)
            return
        if connection.places is not self._answering:
            self._enter_answering(connection)
        self._sent(connection, rest)

    def _sent(self, connection: Connection, rest: memoryview) -> None:
        """Go on with what is left to send; after all of it, wait for the client's end.

        The connection is not closed at once: what the client has sent beside its request would
        have the kernel reset it, and the answer with it; and what the client does not read would
        stay in the kernel, out of all bounds.
        """
        if rest:
            self._watch(connection, select.EPOLLOUT)
        else:
            connection.socket.shutdown(socket.SHUT_WR)
            self._watch(connection, select.EPOLLIN)

    def _end_late(self, now: float) -> None:
        for places in (self._asking, self._answering):
            while (oldest := places.oldest()) and oldest.leaves_at <= now:
                self._drop(oldest, "late")

    def _drop(self, connection: Connection | None, why: str) -> None:
        """End a connection that goes on for too long, or that another needs the place of."""
        if connection is None:
            return
        self._count(metrics.STATUS_DROPPED, why)
        connection.forget_unsent()
        self._end(connection)

    def _end(self, connection: Connection) -> None:
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

    def _forget_received(self, connection: Connection) -> None:
        self._buffered -= len(connection.received)
        connection.received = b""

    def _tell_once(self, error: Exception) -> None:
        """Log a defect with its traceback when it is the first of its kind."""
        kind = type(error).__name__
        if kind not in self._defects:
            self._defects.add(kind)
            log.error("status request failed by a defect, please report it", exc_info=error)


def _is_of_this_host(client: socket.socket, peer: Hashable) -> bool:
    """Tell whether a client has the address that it connected to, as a kubelet's probe may have."""
    try:
        return bool(peer == client.getsockname()[0])
    except OSError:
        return False


def _has_gone(client: socket.socket) -> bool:
    """Tell whether a client has ended its side already, having said nothing."""
    try:
        return not client.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
