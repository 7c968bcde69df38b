"""Processes that come and go by a timetable, the programs' maps, and the agent's loop over them.

The agent's side is the real one (`rover.probes.settling`); what the programs do is written here
again after bpf/process.c, where an exit tells that it is the process's last. Every call into the
kernel takes a moment, in which the timetable goes on.
"""

from __future__ import annotations

import ctypes
import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from rover.clock import NANOSECONDS
from rover.discovery.loop import until_look
from rover.discovery.tempo import LEAST_S
from rover.probes import layout, settle_notice, settling
from rover.probes.layout import Armed, EventKind, PendingKind

SETTLE = 0.1
CATCH_UP = 4
"""ROVER_SLICES_AT_ONCE of bpf/process.c."""
MAPS = ("pending", "overflow", "spilled", "tracked", "armed", "unsettled", "taken", "slices")


@dataclass
class Rooms:
    """How much the maps hold."""

    pending: int = layout.PENDING_ENTRIES
    overflow: int = layout.OVERFLOW_ENTRIES
    ring: int = 10_900


@dataclass
class Pending:
    since_ns: int
    kind: int


@dataclass
class Kernel:
    """The maps, and what the programs do with them at each event."""

    rooms: Rooms = field(default_factory=Rooms)
    call_ns: int = 20_000
    """What a call into it takes."""

    def __post_init__(self) -> None:
        self.now_ns = 1_000 * NANOSECONDS
        self.maps: dict[str, dict[int, Any]] = {name: {} for name in MAPS}
        self.latest = self.met = self.lost = 0
        self.ring: list[bytes] = []
        self._timetable: list[tuple[int, int, Callable[[], None]]] = []
        self._planned = 0

    def plan(self, after: float, what: Callable[[], None]) -> None:
        """Have something happen so many seconds from now."""
        self._planned += 1
        at_ns = self.now_ns + int(after * NANOSECONDS)
        heapq.heappush(self._timetable, (at_ns, self._planned, what))

    def pass_until(self, until_ns: int, *, awake: Callable[[], bool] = lambda: False) -> None:
        """Let time pass, and what is planned happen, until then or until somebody is awake."""
        while self._timetable and self._timetable[0][0] <= until_ns:
            if awake():
                return
            at_ns, _, what = heapq.heappop(self._timetable)
            self.now_ns = max(self.now_ns, at_ns)
            what()
        if not awake():
            self.now_ns = max(self.now_ns, until_ns)

    # --- what the programs do ---

    def enter(self, pid: int, kind: PendingKind) -> None:
        known = self._find(pid)
        if known is not None:
            known.kind = kind
            return
        for name, room in (("pending", self.rooms.pending), ("overflow", self.rooms.overflow)):
            if len(self.maps[name]) < room:
                self.maps[name][pid] = Pending(self.now_ns, kind)
                self._count_unsettled(self.now_ns, 1)
                if name == "overflow":
                    self.maps["spilled"][0] = 1
                break
        else:
            self.lost += 1
        if self.word("armed", Armed.FIRST) and self._send(EventKind.WAKE):
            self.maps["armed"][Armed.FIRST] = 0
        self._tell_settled()

    def leave(self, pid: int) -> None:
        for name in ("pending", "overflow") if self.word("spilled") else ("pending",):
            known = self.maps[name].pop(pid, None)
            if known is not None:
                self._count_unsettled(known.since_ns, -1)
                break
        if self.maps["tracked"].pop(pid, None) is not None:
            self._send(EventKind.EXIT, pid)

    def _find(self, pid: int) -> Pending | None:
        known = self.maps["pending"].get(pid)
        return self.maps["overflow"].get(pid) if known is None and self.word("spilled") else known

    def _tell_settled(self) -> None:
        now = self.now_ns >> layout.SLICE_SHIFT
        passed = now - self.latest
        if passed <= 0:
            return
        age = self.word("armed", Armed.SETTLED)
        if age and self._has_settled(now - age, passed):
            if not self._send(EventKind.SETTLED):
                return
            self.maps["armed"][Armed.SETTLED] = 0
        self.latest = now
        self.met += 1

    def _has_settled(self, latest: int, passed: int) -> bool:
        places = ((latest - back) % layout.SLICES for back in range(min(passed, CATCH_UP)))
        return passed > CATCH_UP or any(
            self.word("unsettled", place) != self.word("taken", place) for place in places
        )

    def _count_unsettled(self, since_ns: int, more: int) -> None:
        place = (since_ns >> layout.SLICE_SHIFT) % layout.SLICES
        self.maps["unsettled"][place] = (self.word("unsettled", place) + more) % 2**32

    def _send(self, kind: EventKind, pid: int = 0) -> bool:
        if len(self.ring) >= self.rooms.ring:
            return False
        self.ring.append(bytes(layout.RingEvent(self.now_ns, pid, kind)))
        return True

    def word(self, name: str, key: int = 0) -> int:
        return self.maps[name].get(key, 0)

    def miscounted(self) -> dict[int, int]:
        """Give what the slices count in excess of what is in the maps, where it is not 0."""
        left = dict.fromkeys(range(layout.SLICES), 0)
        for name in ("pending", "overflow"):
            for known in self.maps[name].values():
                left[(known.since_ns >> layout.SLICE_SHIFT) % layout.SLICES] += 1
        excess = {
            place: (self.word("unsettled", place) - self.word("taken", place) - amount) % 2**32
            for place, amount in left.items()
        }
        return {place: amount for place, amount in excess.items() if amount}

    # --- rover.probes.libbpf ---

    def _called(self, descriptor: int) -> dict[int, Any]:
        self.pass_until(self.now_ns + self.call_ns)
        return self.maps[MAPS[descriptor]] if descriptor < len(MAPS) else {}

    def lookup(self, descriptor: int, key: Any, value: Any) -> bool:
        known = self._called(descriptor)
        if isinstance(value, layout.SlicesValue):
            value.latest, value.met = self.latest, self.met
        elif isinstance(value, ctypes.c_uint32):
            value.value = known.get(key.value, 0)
        return True

    def update(self, descriptor: int, key: Any, value: Any) -> None:
        self._called(descriptor)[key.value] = value.value

    def delete(self, descriptor: int, key: Any) -> bool:
        known = self._called(descriptor).pop(key.value, None)
        return known is not None

    def lookup_all(self, descriptor: int, keys: Any, values: Any) -> int:
        known = self._called(descriptor)
        for place, (pid, each) in enumerate(known.items()):
            keys[place] = pid
            values[place] = layout.PendingValue(each.since_ns, 0, each.kind, 0)
        return len(known)

    def update_all(self, descriptor: int, keys: Any, values: Any, amount: int) -> int:
        self._called(descriptor).update(zip(keys[:amount], values[:amount], strict=True))
        return amount

    def possible_cpus(self) -> int:
        return 1

    def recursion_misses(self, program: int) -> int:  # noqa: ARG002 - the signature
        return 0

    def RingBuffer(self, descriptor: int, sample_size: int) -> SimpleNamespace:  # noqa: ARG002, N802
        def consume() -> list[bytes]:
            samples, self.ring = self.ring, []
            return samples

        return SimpleNamespace(consume=consume, fileno=lambda: -1, close=lambda: None)


class Agent:
    """The loop of the discovery thread, as far as it waits and takes."""

    def __init__(self, kernel: Kernel, patches: pytest.MonkeyPatch) -> None:
        for module in (settling, settle_notice):
            patches.setattr(module, "libbpf", kernel)
        patches.setattr(settling, "boot_clock_ns", lambda: kernel.now_ns)
        maps = {name: number for number, name in enumerate((*MAPS, "counters", "events"))}
        self.kernel = kernel
        self.probes = settling.Probes(SimpleNamespace(maps=maps, programs={}))
        self.took: dict[int, list[float]] = {}
        """When each process was taken, in seconds of the kernel's clock."""
        self.turns: list[float] = []
        self.is_told = False
        self._look_at_ns: int | None = None
        self.turn()

    def turn(self) -> None:
        now_ns = self.kernel.now_ns
        self.turns.append(now_ns / NANOSECONDS)
        taken = self.probes.take(int(SETTLE * NANOSECONDS))
        for process in taken.settled:
            self.took.setdefault(process.pid, []).append(self.kernel.now_ns / NANOSECONDS)
        self.is_told, self._look_at_ns = taken.is_told, None
        if taken.next_due_ns is not None:
            seconds = until_look(
                taken.next_due_ns - self.kernel.now_ns,
                found=bool(taken.settled or taken.ended),
                is_told=taken.is_told,
            )
            self._look_at_ns = now_ns + int(seconds * NANOSECONDS)

    def run(self, seconds: float) -> None:
        kernel = self.kernel
        end_ns = kernel.now_ns + int(seconds * NANOSECONDS)
        while kernel.now_ns < end_ns:
            at_ns = end_ns if self._look_at_ns is None else min(self._look_at_ns, end_ns)
            kernel.pass_until(at_ns, awake=lambda: bool(kernel.ring))
            if kernel.ring and not self.probes.has_news():
                self._look_at_ns = kernel.now_ns + int(SETTLE * NANOSECONDS)
            elif self.probes.has_news() or (self._look_at_ns or end_ns + 1) <= kernel.now_ns:
                kernel.pass_until(int((self.turns[-1] + LEAST_S) * NANOSECONDS))
                self.turn()
