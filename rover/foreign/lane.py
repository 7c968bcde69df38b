"""One of the child's two sockets, with the requests sent through it that have no answer yet."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

from rover.foreign.wire import MAX_PACKET, READY, SLOW, unpack

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

MAX_OUTSTANDING: Final = 4_096
"""Requests without an answer at most; then no more are sent."""


class Answer(NamedTuple):
    """One packet of the child."""

    word: str
    numbers: list[int]
    text: bytes

    @property
    def serial(self) -> int:
        """The request that it answers, 0 where it was not asked for."""
        return self.numbers[0] if self.numbers else 0


class Lane(Generic[T]):
    """Sends requests and takes answers without waiting; answers come in the requests' order.

    Each request is kept with what it is about. One thread sends, one receives; they may be two.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Make a pair of sockets; the child's end is `theirs` until `give` closes it."""
        kind = socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC
        self._ours, self.theirs = socket.socketpair(socket.AF_UNIX, kind)
        self._ours.settimeout(0.0)
        self._clock = clock
        self._buffer = bytearray(MAX_PACKET)
        self._poll = select.poll()
        self._poll.register(self._ours, select.POLLIN)
        self.outstanding: dict[int, T] = {}
        self.ended = False
        """The child has closed its end, or said what is no answer."""
        self.ready = False
        """The child has begun."""
        self.moved_at = 0.0
        """When the oldest request without an answer became the oldest."""
        self.slow: list[tuple[T, float]] = []
        """What was held up, and for how many seconds; whoever receives takes it out."""
        self._latest: tuple[int, T] | None = None

    def fileno(self) -> int:
        """Return the agent's end."""
        return self._ours.fileno()

    def send(self, packet: bytes, asked: dict[int, T]) -> bool:
        """Send a request; tell whether it went.

        Args:
            packet: the request.
            asked: what will be answered, by serial; nothing where no answer comes.
        """
        if self.ended or len(self.outstanding) + len(asked) > MAX_OUTSTANDING:
            return False
        if not self.outstanding:
            self.moved_at = self._clock()
        self.outstanding |= asked
        try:
            self._ours.send(packet)
        except OSError as error:
            self.ended = not isinstance(error, BlockingIOError)
            for serial in asked:
                self.outstanding.pop(serial, None)
            return False
        return True

    def receive(self, most: int = MAX_OUTSTANDING) -> list[Answer]:
        """Take the answers that are there, the first ones of many."""
        answers: list[Answer] = []
        while not self.ended and len(answers) < most:
            try:
                size = self._ours.recv_into(self._buffer)
            except BlockingIOError:
                break
            except OSError:
                size = 0
            if not size:
                self.ended = True
                break
            try:
                answer = Answer(*unpack(bytes(memoryview(self._buffer)[:size])))
            except ValueError:
                self.ended = True
                break
            self.moved_at = self._clock()
            if answer.word == READY:
                self.ready = True
                continue
            if answer.word == SLOW:
                self._note_slow(answer)
                continue
            answers.append(answer)
            if answer.serial and (asked := self.outstanding.pop(answer.serial, None)) is not None:
                self._latest = answer.serial, asked
        return answers

    def _note_slow(self, answer: Answer) -> None:
        asked = self.outstanding.get(answer.serial)
        if asked is None and self._latest and self._latest[0] == answer.serial:
            asked = self._latest[1]
        if asked is not None:
            self.slow.append((asked, answer.numbers[-1] / 1e6))

    def readable(self) -> bool:
        """Tell whether an answer is there, or the child has ended; for any thread."""
        try:
            self._ours.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def wait(self, timeout: float) -> bool:
        """Wait until it is `readable`; for the thread that receives."""
        return bool(self._poll.poll(timeout * 1000))

    def oldest(self) -> tuple[int, T] | None:
        """Return what the child is at, with its serial; None where it is at nothing."""
        with contextlib.suppress(RuntimeError):  # the other thread has changed it meanwhile
            return next(iter(self.outstanding.items()), None)
        return None

    def give(self) -> None:
        """Close the child's end here, once the child has it."""
        self.theirs.close()

    def close(self) -> None:
        """Close both ends."""
        self.ended = True
        self._ours.close()
        self.theirs.close()
