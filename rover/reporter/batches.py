"""How many items go into one message, and how a bad one is found among them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from rover.reporter.failures import CallError, FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")
R = TypeVar("R")

MOST_ITEMS: Final = 1_000
MOST_BYTES: Final = 3 * 1024 * 1024
"""Below the 4 MiB of OAP's eBPF receiver port and of a client's default, with room for framing;
the core port takes 50 MiB."""
LEAST_BYTES: Final = 1024
TRIES_ALONE: Final = 3
"""A lone item is called bad after so many failures: a server that fails now and then is not its
fault."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds of one message, and of the answer to it."""

    items: int = MOST_ITEMS
    bytes: int = MOST_BYTES

    def halved(self) -> Limits:
        """For a server that took too long, or does not take such messages."""
        return replace(self, items=max(1, self.items // 2), bytes=max(LEAST_BYTES, self.bytes // 2))

    def below(self, size: int) -> Limits:
        """For a server that refused a message of this size."""
        return replace(self, bytes=max(LEAST_BYTES, min(self.bytes, size // 2)))

    def doubled(self) -> Limits:
        """Back towards the defaults, once all goes well again."""
        return Limits(min(MOST_ITEMS, self.items * 2), min(MOST_BYTES, self.bytes * 2))


def batches(items: Iterable[T], size: Callable[[T], int], limits: Limits) -> Iterator[list[T]]:
    """Cut items into lists within the limits; an item above them stands alone."""
    batch: list[T] = []
    total = 0
    for item in items:
        needed = size(item)
        if batch and (len(batch) >= limits.items or total + needed > limits.bytes):
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += needed
    if batch:
        yield batch


@dataclass(frozen=True, slots=True)
class Part(Generic[T, R]):
    """Some items that fared alike: all answered, or one that the server cannot stand."""

    items: list[T]
    answer: R | None
    failure: CallError | None = None


def deliver(
    batch: list[T],
    send: Callable[[list[T]], R],
    answers_at_all: Callable[[], object],
    known_bad: Callable[[T], CallError | None],
) -> Iterator[Part[T, R]]:
    """Send a batch, halving it around items that the server cannot stand.

    ``answers_at_all`` is asked before the batch is first halved and before a lone item is called
    bad; it raises where the server fails on everything. ``known_bad`` is asked again before each
    call, so that what was learnt of one item spares the calls for others like it.

    Raises:
        CallError: For every failure that is no item's fault.
    """
    waiting = [batch]
    while waiting:
        part = []
        for item in waiting.pop():
            if failure := known_bad(item):
                yield Part([item], None, failure)
            else:
                part.append(item)
        if not part:
            continue
        answer, failure = _try(part, send)
        if failure is None:
            yield Part(part, answer)
            continue
        alone = len(part) == 1
        if failure.kind is FailureKind.ITEM and (alone or len(part) == len(batch)):
            answers_at_all()
        if alone:
            yield Part(part, None, failure)
        else:
            middle = len(part) // 2
            waiting += (part[middle:], part[:middle])


def _try(part: list[T], send: Callable[[list[T]], R]) -> tuple[R | None, CallError | None]:
    """Send, a lone item several times; give the answer or what was wrong with the items."""
    failure = None
    for _ in range(TRIES_ALONE if len(part) == 1 else 1):
        try:
            return send(part), None
        except CallError as error:
            if error.kind not in (FailureKind.ITEM, FailureKind.TOO_LARGE):
                raise
            failure = error
        if failure.kind is FailureKind.TOO_LARGE:
            break
    return None, failure
