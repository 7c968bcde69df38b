"""The kernel's notice that something has settled, for hosts on which much comes in.

Most of what comes in there ends before it has settled, so to look now and then is mostly in vain.
What comes in looks instead, once a slice of time, and sends a notice (`tell_settled` in
bpf/process.c). Where nothing comes in nobody looks, so the notice is relied on only after things
have come in evenly for a while, and is never all that is relied on: see `TOLD_SLACK` in
rover/discovery/loop.py.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from typing import TYPE_CHECKING, Final

from rover.probes import layout, libbpf
from rover.probes.layout import Armed, SlicesValue

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

EVEN_FOR_NS: Final = 1_000_000_000
"""For how long things must have come in evenly."""
EVEN_SHARE: Final = 0.5
"""In so many of the slices, of 8.4 ms, something comes in: then pauses are short."""
LEAST_SLICES: Final = 4
"""Slices that are judged together at least."""
LATE_NS: Final = 40_000_000
"""A process that settled so long before a look should have been told of by then."""
_WORD: Final = 1 << 32
_FIRST: Final = ctypes.c_uint32(0)
_SETTLED: Final = ctypes.c_uint32(Armed.SETTLED)


def slices_to_settle(settle_ns: int) -> int:
    """Return after how many slices all that came in during one has settled; 0: beyond the ring."""
    slices = -(-settle_ns >> layout.SLICE_SHIFT) + 1
    return slices if slices <= layout.SLICES // 2 else 0


class Inflow:
    """Tells whether things come in evenly, by the kernel's count of slices in which they did."""

    def __init__(self) -> None:
        """Begin without a judgement."""
        self._slice: int | None = None
        self._met = 0
        self._even_since_ns: int | None = None

    def note(self, met: int, now_ns: int) -> None:
        """Take in the kernel's count."""
        now = now_ns >> layout.SLICE_SHIFT
        before = self._slice
        if before is not None and now - before < LEAST_SLICES:
            return
        even = before is not None and met - self._met >= EVEN_SHARE * (now - before)
        self._slice, self._met = now, met
        if not even:
            self._even_since_ns = None
        elif self._even_since_ns is None:
            self._even_since_ns = now_ns

    def distrust(self) -> None:
        """Begin anew: it was not so even as it seemed."""
        self._even_since_ns = None

    def is_even(self, now_ns: int) -> bool:
        """Tell whether it has been so for long enough."""
        since_ns = self._even_since_ns
        return since_ns is not None and now_ns - since_ns >= EVEN_FOR_NS


class SettleNotice:
    """Asks for the notice, and keeps right the agent's side of the count that it is given by."""

    def __init__(self, maps: Mapping[str, int]) -> None:
        """Ask for nothing yet.

        Args:
            maps: descriptors of the programs' maps by name.
        """
        self._armed = maps["armed"]
        self._unsettled = maps["unsettled"]
        self._taken = maps["taken"]
        self._slices = maps["slices"]
        self._counts = SlicesValue()
        self._inflow = Inflow()
        self._after = 0
        """Slices after which it is asked for; 0 where it is not."""
        self._took = [0] * layout.SLICES
        """What `taken` holds."""
        self.is_awaited = False
        """Whether it is asked for and has not come."""
        self.has_come = False
        """Since `looked` was called last."""

    def ask(self, settle_ns: int, now_ns: int) -> None:
        """Ask for it where it can be relied on; before a look, so that nothing falls between."""
        libbpf.lookup(self._slices, _FIRST, self._counts)
        self._inflow.note(self._counts.met, now_ns)
        after = slices_to_settle(settle_ns) if self._inflow.is_even(now_ns) else 0
        if after and not (self.is_awaited and after == self._after):
            self._arm(after)
        elif not after and self.is_awaited:
            self.withdraw()
        self._after = after

    def withdraw(self) -> None:
        """Ask for it no more; it may be on its way."""
        self._arm(0)

    def came(self) -> None:
        """Take note that it has come."""
        self.is_awaited = False
        self.has_come = True

    def took(self, since_ns: Iterable[int]) -> None:
        """Count processes that the agent has taken out of `pending` or `overflow` itself.

        Args:
            since_ns: times of their first events.
        """
        by_place = Counter(_place(each >> layout.SLICE_SHIFT) for each in since_ns)
        for place, amount in by_place.items():
            self._count(place, self._took[place] + amount)

    def looked(self, oldest_ns: int | None, unsettled: Collection[int], now_ns: int) -> None:
        """Learn from a look.

        Args:
            oldest_ns: for how long the oldest of those that had settled has been settled; None
                where none had.
            unsettled: times of the others' first events.
            now_ns: CLOCK_BOOTTIME of the look.
        """
        if self.has_come and oldest_ns is None and self._after:
            self._mend(unsettled, now_ns)
        late = oldest_ns is not None and oldest_ns > LATE_NS
        if late and self.is_awaited:
            self._inflow.distrust()
            self.withdraw()
        self.has_come = False

    def _arm(self, after: int) -> None:
        libbpf.update(self._armed, _SETTLED, ctypes.c_uint32(after))
        self.is_awaited = after > 0

    def _count(self, place: int, amount: int) -> None:
        self._took[place] = amount % _WORD
        libbpf.update(self._taken, ctypes.c_uint32(place), ctypes.c_uint32(amount % _WORD))

    def _mend(self, unsettled: Collection[int], now_ns: int) -> None:
        """Set right the count of slices that are over and have nobody left.

        It came in vain: mostly since somebody ended just then. But where a process was in `pending`
        and `overflow` both, or had the pid of one that was just looked at, one was counted for the
        other, and the slice would call for ever.
        """
        now = now_ns >> layout.SLICE_SHIFT
        left = {_place(since_ns >> layout.SLICE_SHIFT) for since_ns in unsettled}
        counted = ctypes.c_uint32()
        for slice_ in range(now - layout.SLICES // 2, now - self._after + 1):
            place = _place(slice_)
            if place in left:
                continue
            libbpf.lookup(self._unsettled, ctypes.c_uint32(place), counted)
            if counted.value != self._took[place]:
                self._count(place, counted.value)


def _place(slice_: int) -> int:
    return slice_ % layout.SLICES
