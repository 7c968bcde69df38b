"""Take what the programs have counted out of the kernel: each count once, none of them lost.

Stacks carry the epoch in which they were first met. A reading raises the epoch and takes what is of
earlier ones: to that nothing is added any more, but ends of waits that began in it. Stacks of such
waits stay in the map, with a note of what was taken of them; all others are deleted.
"""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from rover.clock import boot_clock_ns
from rover.probes import libbpf
from rover.profiling.layout import (
    KERNEL_FRAMES,
    USER_FRAMES,
    Control,
    StackKey,
    StackValue,
    StartValue,
    Walk,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rover.profiling.totals import Total

BATCH: Final = 512
"""Entries read at once: more than the kernel has in one bucket, 0.7 MB."""
SETTLE_S: Final = 0.001
"""Until programs that ran when the epoch was raised are through; they take microseconds."""
EPOCHS: Final = 256
_FIRST: Final = ctypes.c_uint32(0)


class Key(NamedTuple):
    """``struct rover_stack_key``."""

    hash: int
    tgid: int
    generation: int
    target: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Met:
    """A stack that was met since the last reading, or whose waits went on."""

    key: Key
    kernel: tuple[int, ...]
    """Addresses, leaf first."""
    user: tuple[int, ...]
    walk: Walk
    count: int
    """More than at the last reading."""
    ns: int


class _Taken:
    """What was taken of a stack that stays in the map."""

    __slots__ = ("count", "ns", "total")

    def __init__(self) -> None:
        self.count = 0
        self.ns = 0
        self.total: Total | None = None


class Drain:
    """Reads the maps; one thread at a time."""

    def __init__(self, maps: dict[str, int], most_switches: int) -> None:
        """Begin the first epoch.

        Args:
            maps: descriptors by the names of bpf/profile.c.
            most_switches: of a process in a window; above, one of several is taken.
        """
        self._maps = maps
        self._most_switches = most_switches
        self._epoch = 0
        self._kept: dict[Key, _Taken] = {}
        self._keys = (StackKey * BATCH)()
        self._values = (StackValue * BATCH)()
        self._write_epoch()

    def take(self) -> Iterator[list[Met]]:
        """Give what was met since the last reading, by parts; take all of them."""
        self._epoch = (self._epoch + 1) % EPOCHS
        self._write_epoch()
        time.sleep(SETTLE_S)
        under_way = self._under_way()
        over: list[StackKey] = []
        for amount in libbpf.batches(self._maps["stacks"], self._keys, self._values):
            part = []
            for raw, value in zip(self._keys[:amount], self._values[:amount], strict=True):
                key = Key(raw.hash, raw.tgid, raw.generation, raw.target, raw.epoch)
                if key.epoch == self._epoch:
                    continue
                waits = under_way.get(key)
                if met := self._met(key, value, waits or (0, 0)):
                    part.append(met)
                if waits is None:
                    over.append(StackKey.from_buffer_copy(raw))
                    self._kept.pop(key, None)
            yield part
        if over:
            libbpf.delete_all(self._maps["stacks"], (StackKey * len(over))(*over), len(over))

    def total_of(self, key: Key) -> Total | None:
        """Return under which names a stack that stayed in the map was given."""
        kept = self._kept.get(key)
        return kept.total if kept else None

    def keep_total(self, key: Key, total: Total) -> None:
        """Remember the names of a stack, if it stays in the map."""
        if kept := self._kept.get(key):
            kept.total = total

    def forget(self, pid: int) -> None:
        """Delete what there is of a process."""
        if mine := self._stacks_of(pid):
            libbpf.delete_all(self._maps["stacks"], (StackKey * len(mine))(*mine), len(mine))
        for key in [key for key in self._kept if key.tgid == pid]:
            del self._kept[key]
        threads = [thread for thread, start in self._starts() if start.stack.tgid == pid]
        for thread in threads:
            libbpf.delete(self._maps["starts"], ctypes.c_uint32(thread))

    def _stacks_of(self, pid: int) -> list[StackKey]:
        return [
            StackKey.from_buffer_copy(key)
            for amount in libbpf.batches(self._maps["stacks"], self._keys, self._values)
            for key in self._keys[:amount]
            if key.tgid == pid
        ]

    def _met(self, key: Key, value: StackValue, waits: tuple[int, int]) -> Met | None:
        """Return what is more than was taken before; None for nothing.

        A wait that ends while the maps are read may be in both sums this time. What was taken never
        falls, so it is made good at the next reading.
        """
        count, ns = value.count + waits[0], value.ns + waits[1]
        taken = self._kept.get(key)
        if taken is None:
            taken = _Taken()
            if waits[0]:
                self._kept[key] = taken
        more, longer = max(count - taken.count, 0), max(ns - taken.ns, 0)
        taken.count, taken.ns = max(count, taken.count), max(ns, taken.ns)
        if not more and not longer:
            return None
        kernel = min(value.kernel, KERNEL_FRAMES)
        user = min(value.user, USER_FRAMES)
        frames = value.frames
        return Met(
            key,
            tuple(frames[:kernel]),
            tuple(frames[KERNEL_FRAMES : KERNEL_FRAMES + user]),
            Walk(value.walk),
            more,
            longer,
        )

    def _under_way(self) -> dict[Key, tuple[int, int]]:
        """Return the waits that go on, by stack: how many, and for how long so far."""
        now = boot_clock_ns()
        found: dict[Key, tuple[int, int]] = {}
        for _, start in self._starts():
            raw = start.stack
            if not start.kept:
                continue
            key = Key(raw.hash, raw.tgid, raw.generation, raw.target, raw.epoch)
            count, ns = found.get(key, (0, 0))
            lasted = max(now - start.at_ns, 0)
            found[key] = count + start.weight, ns + lasted * start.weight
        return found

    def _starts(self) -> list[tuple[int, StartValue]]:
        keys, values = (ctypes.c_uint32 * BATCH)(), (StartValue * BATCH)()
        return [
            (keys[at], StartValue.from_buffer_copy(values[at]))
            for amount in libbpf.batches(self._maps["starts"], keys, values)
            for at in range(amount)
        ]

    def _write_epoch(self) -> None:
        control = Control(self._epoch, self._most_switches)
        libbpf.update(self._maps["control"], _FIRST, control)
