"""From counts that grow to what the backend has not got yet.

The sampler's counts are cumulative, the backend adds up what it is sent, so what is sent are
differences. They are merged by symbols, for of several stacks with one id in a flush the backend
keeps one. A batch stays as it is until the backend took it: a flush that was stored although its
answer got lost is sent again under the same time and ids, and the backend, which knows records by
these, has it once.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rover.profiling.records import Target

MOST_STACKS: Final = 16_384
"""Distinct stacks of one task that wait to be sent."""
MOST_COUNT: Final = (1 << 31) - 1
"""The protocol's counts have 32 bits; what is more goes with the next flush."""
MOST_NS: Final = (1 << 63) - 1
UNKNOWN: Final = ("[unknown]",)
"""The stack of a sample of which no frame is known, so that it counts all the same."""
_ID_BITS: Final = 0x7FFF_FFFF

Names = tuple[str, ...]


class Stack(NamedTuple):
    """What is merged: two samples with equal names are the same."""

    kernel: Names
    """Leaf first."""
    user: Names


class Amount(NamedTuple):
    """How often, and for how long."""

    times: int
    ns: int


class Source(NamedTuple):
    """One process sampled for one target."""

    pid: int
    target: Target


Counts = dict[Stack, Amount]

NOTHING: Final = Amount(0, 0)


@dataclass(frozen=True, slots=True)
class Item:
    """One stack of a batch with the ids of its two sides."""

    stack: Stack
    kernel_id: int
    user_id: int
    amount: Amount


@dataclass(frozen=True, slots=True)
class Batch:
    """What one flush holds of one task."""

    at: int
    """Milliseconds since the epoch; no two batches of a task have the same."""
    items: tuple[Item, ...]

    @property
    def total(self) -> Amount:
        """The sum over all stacks."""
        return Amount(
            sum(item.amount.times for item in self.items),
            sum(item.amount.ns for item in self.items),
        )


def summed(counts: Iterable[tuple[Source, Stack, Amount]]) -> dict[Source, Counts]:
    """Add up by process, target and names."""
    by_source: dict[Source, Counts] = {}
    for source, stack, amount in counts:
        held = by_source.setdefault(source, {})
        before = held.get(stack)
        held[stack] = amount if before is None else _plus(before, amount)
    return by_source


class Ledger:
    """What was counted for one task, and how much of it the backend took.

    Attributes:
        batch: what is being sent; None where there is nothing, or before it is cut.
        lost: counts for which there was no room.
        taken: what the backend accepted.
    """

    def __init__(self) -> None:
        self.batch: Batch | None = None
        self.lost = 0
        self.taken = NOTHING
        self._seen: dict[Source, Counts] = {}
        """What was read last of each process: all of it is owed or sent."""
        self._owed: Counts = {}
        self._last_at = 0

    @property
    def has_more(self) -> bool:
        """Whether something waits to be sent."""
        return self.batch is not None or bool(self._owed)

    @property
    def unsent(self) -> int:
        """How many samples wait to be sent."""
        batch = self.batch.total.times if self.batch else 0
        return batch + sum(amount.times for amount in self._owed.values())

    @property
    def waiting(self) -> int:
        """How many stacks wait to be sent."""
        return len(self._owed) + (len(self.batch.items) if self.batch else 0)

    def join(self, source: Source, so_far: Mapping[Stack, Amount]) -> None:
        """Count a process from now on.

        Args:
            source: who.
            so_far: what was counted of it before, for others.
        """
        self._seen[source] = dict(so_far)

    def leave(self, source: Source) -> None:
        """Count a process no longer; what is owed of it stays."""
        self._seen.pop(source, None)

    def sources(self) -> set[Source]:
        """Name those that are counted."""
        return set(self._seen)

    def read(self, counts: Mapping[Source, Counts]) -> None:
        """Take note of what has been counted so far, of all processes."""
        for source, seen in self._seen.items():
            for stack, amount in counts.get(source, {}).items():
                before = seen.get(stack, NOTHING)
                if amount != before:
                    seen[stack] = amount
                    self._owe(stack, _minus(amount, before))

    def cut(self, now: int) -> Batch | None:
        """Make a batch of what is owed, unless one is still being sent; return the one to send.

        Args:
            now: milliseconds since the epoch.
        """
        if self.batch is None and self._owed:
            now_and_more = {stack: _split(amount) for stack, amount in self._owed.items()}
            items = with_ids({stack: part for stack, (part, _) in now_and_more.items()})
            self._last_at = max(now, self._last_at + 1)
            self.batch = Batch(self._last_at, items)
            self._owed = {stack: rest for stack, (_, rest) in now_and_more.items() if any(rest)}
        return self.batch

    def accepted(self) -> None:
        """Forget the batch: the backend has it."""
        if self.batch is not None:
            self.taken = _plus(self.taken, self.batch.total)
            self.batch = None

    def _owe(self, stack: Stack, more: Amount) -> None:
        if not any(more):
            return
        owed = self._owed.get(stack)
        if owed is None and len(self._owed) >= MOST_STACKS:
            self.lost += more.times
        else:
            self._owed[stack] = more if owed is None else _plus(owed, more)


def with_ids(counts: Mapping[Stack, Amount]) -> tuple[Item, ...]:
    """Give each side of each stack its id, and no two stacks the same pair of them."""
    items = []
    pairs: set[tuple[int, int]] = set()
    for stack, amount in counts.items():
        shown = stack if any(stack) else Stack((), UNKNOWN)
        kernel_id, user_id = stack_id("k", shown.kernel), stack_id("u", shown.user)
        while (kernel_id, user_id) in pairs:  # 31 bits: one chance in 16 with 16,384 stacks
            if shown.user:
                user_id = (user_id + 1) & _ID_BITS
            else:
                kernel_id = (kernel_id + 1) & _ID_BITS
        pairs.add((kernel_id, user_id))
        items.append(Item(shown, kernel_id, user_id, amount))
    return tuple(items)


def stack_id(side: str, names: Names) -> int:
    """Hash one side of a stack to 31 bits, the same in every flush and every agent; 0 for none."""
    if not names:
        return 0
    text = "\0".join((side, *names)).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=4).digest()) & _ID_BITS


def _plus(one: Amount, other: Amount) -> Amount:
    return Amount(one.times + other.times, one.ns + other.ns)


def _minus(now: Amount, before: Amount) -> Amount:
    """What came in between; counts that fell are counted anew from there, not backwards."""
    return Amount(max(0, now.times - before.times), max(0, now.ns - before.ns))


def _split(amount: Amount) -> tuple[Amount, Amount]:
    """Part what the protocol's numbers hold from the rest."""
    part = Amount(min(amount.times, MOST_COUNT), min(amount.ns, MOST_NS))
    return part, _minus(amount, part)
