"""Take settled processes and exits out of the kernel, in the order in which nothing is missed."""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from rover.clock import boot_clock_ns
from rover.errors import ProbeError
from rover.probes import layout, libbpf, programs
from rover.probes.layout import Armed, Counter, EventKind, PendingKind, PendingValue, RingEvent
from rover.probes.settle_notice import SettleNotice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rover.probes.attaching import Attaching

SEEN_NS: Final = 1_000_000
"""Until a processor's stores have been seen by all others; it takes microseconds at most."""
IN_ORDER: Final = platform.machine() == "x86_64"
"""Whether the programs' atomic add orders a store before a load (`count_unsettled`)."""
EMPTY_NS: Final = 5_000_000_000
"""For how long `pending` is not looked at, once it was empty and the next to come in is to send a
wake-up: that finds no room in a full ring."""
COUNT_EVERY_NS: Final = 250_000_000
"""Between two readings of the kernel's counts, while one look follows another."""
_PENDING_VALUE: Final = struct.Struct("=QIHH")
"""`PendingValue`, read many at once."""
_FIRST: Final = ctypes.c_uint32(0)
_ARMED_FIRST: Final = ctypes.c_uint32(Armed.FIRST)


class Settled(NamedTuple):
    """A process that has lived for the settle time since the kernel first spoke of it."""

    pid: int
    since_ns: int
    """CLOCK_BOOTTIME of its first event."""
    kind: PendingKind
    """Its latest event."""


class Ended(NamedTuple):
    """A followed process, or a thread of one, that ended."""

    pid: int
    at_ns: int
    """CLOCK_BOOTTIME."""
    kind: EventKind


@dataclass(frozen=True, slots=True)
class Taken:
    """What one look brought."""

    settled: list[Settled]
    ended: list[Ended]
    gone: int
    """Processes that ended between the look and their turn."""
    unfollowed: int
    """Processes that `tracked` had no room for; their exit is found by the reconcile."""
    next_due_ns: int | None
    """CLOCK_BOOTTIME at which the next process settles; None: sleep until the descriptor wakes."""
    is_told: bool = False
    """Whether the descriptor wakes when something has settled, for as long as things come in as
    they do now."""


class Counted(NamedTuple):
    """What the kernel has counted since the programs were loaded."""

    of: dict[Counter, int]
    """By the programs themselves."""
    skipped: int
    """Events for which it did not run a program."""


class _Due(NamedTuple):
    """A process that has settled, and the map that it is in."""

    process: Settled
    place: int


class _Look(NamedTuple):
    """What is in the maps of unsettled processes."""

    due: list[_Due]
    unsettled: list[int]
    """Times of the others' first events."""
    next_due_ns: int | None
    at_ns: int


class _Room:
    """Room to read a map of unsettled processes into."""

    def __init__(self, entries: int) -> None:
        self._keys = (ctypes.c_uint32 * entries)()
        self._values = (PendingValue * entries)()

    def read(self, descriptor: int) -> list[tuple[int, int, int]]:
        """Return pid, time of the first event and kind of the latest of each, in no order."""
        amount = libbpf.lookup_all(descriptor, self._keys, self._values)
        values = memoryview(self._values).cast("B")[: amount * _PENDING_VALUE.size]
        return [
            (pid, since, kind)
            for pid, (since, _, kind, _) in zip(
                self._keys[:amount], _PENDING_VALUE.iter_unpack(values), strict=True
            )
        ]


class Probes:
    """The attached programs as the discovery thread uses them; that thread alone calls it."""

    def __init__(self, loaded: programs.Programs) -> None:
        self.loaded = loaded
        self._pending = loaded.maps["pending"]
        self._tracked = loaded.maps["tracked"]
        self._armed = loaded.maps["armed"]
        self._overflow = loaded.maps["overflow"]
        self._spilled = loaded.maps["spilled"]
        self._room = _Room(layout.PENDING_ENTRIES)
        self._more_room: _Room | None = None
        """For `overflow`, once that was needed."""
        self._counts = (layout.Counts * libbpf.possible_cpus())()
        self._ring = libbpf.RingBuffer(loaded.maps["events"], ctypes.sizeof(RingEvent))
        self._ended: list[Ended] = []
        """Out of the ring, and not taken yet."""
        self._awaited = False
        """Whether the next first event is to send a wake-up, and has not."""
        self._empty_until_ns = 0
        """CLOCK_BOOTTIME until which `pending` is empty for as long as a wake-up is awaited."""
        self._descriptor = self._ring.fileno()
        self._counted_at_ns = 0
        self.counted = Counted(dict.fromkeys(Counter, 0), 0)
        """The kernel's counts, from a look a quarter of a second ago at most."""
        self._notice = SettleNotice(loaded.maps)
        self._disarm()

    def fileno(self) -> int:
        """Return a descriptor that is readable when there is something to take."""
        return self._descriptor

    def follow(self, pids: Iterable[int]) -> int:
        """Have the exits of these processes sent; return how many there was no room for.

        Call it before reading /proc of them: an exit after that is sent.
        """
        wanted = list(pids)
        if not wanted:
            return 0
        keys = (ctypes.c_uint32 * len(wanted))(*wanted)
        flags = (ctypes.c_uint32 * len(wanted))(*([layout.FOLLOW] * len(wanted)))
        return len(wanted) - libbpf.update_all(self._tracked, keys, flags, len(wanted))

    def follow_threads(self, pid: int) -> None:
        """Have the end of each thread sent, for a process whose leader ended before them."""
        try:
            libbpf.update(
                self._tracked,
                ctypes.c_uint32(pid),
                ctypes.c_uint32(layout.FOLLOW | layout.FOLLOW_THREADS),
            )
        except OSError as error:
            if error.errno != errno.E2BIG:  # no room: the reconcile finds its end
                raise

    def unfollow(self, pid: int) -> None:
        """Forget a process that is gone or of no interest."""
        libbpf.delete(self._tracked, ctypes.c_uint32(pid))

    def has_news(self) -> bool:
        """Tell whether the descriptor speaks of more than a first event.

        That needs no look before the settle time is over.
        """
        self._consume()
        return bool(self._ended) or self._notice.has_come

    def take(self, settle_ns: int) -> Taken:
        """Take what has settled and what has ended.

        A settled process is followed first, taken out of `pending` second, and read in /proc by
        the caller third: an exit, an exec or a reuse of its pid at any moment shows in one of
        them. Exits come from after the look at `pending`, so that the end of an earlier process
        with the same pid is among them: handle them first.
        """
        if self._awaited and boot_clock_ns() < self._empty_until_ns:
            self._consume()
            if self._awaited:
                ended, self._ended = self._ended, []
                self._count()
                return Taken([], ended, 0, 0, None)
        self._consume()
        self._notice.ask(settle_ns, boot_clock_ns())
        look = self._look(settle_ns)
        next_due = look.next_due_ns
        settled, gone = [], 0
        unfollowed = self.follow(process.pid for process, _ in look.due)
        for process, place in look.due:
            if libbpf.delete(place, ctypes.c_uint32(process.pid)):
                settled.append(process)
            else:
                self.unfollow(process.pid)
                gone += 1
        self._notice.took(process.since_ns for process in settled)
        self._consume()
        ended, self._ended = self._ended, []
        oldest = min((process.since_ns for process, _ in look.due), default=None)
        settled_for = None if oldest is None else look.at_ns - settle_ns - oldest
        self._notice.looked(settled_for, look.unsettled, look.at_ns)
        is_told = self._notice.is_awaited
        if next_due is None and is_told:  # much comes in: no need to be told that something has
            next_due = look.at_ns + settle_ns
        if next_due is None:
            next_due = self._arm(settle_ns)
        elif self._awaited:
            self._disarm()
        self._count(at_once=next_due is None)
        return Taken(settled, ended, gone, unfollowed, next_due, is_told)

    def _count(self, *, at_once: bool = False) -> None:
        """Read the kernel's counts, unless that was done a moment ago."""
        now_ns = boot_clock_ns()
        if at_once or now_ns - self._counted_at_ns >= COUNT_EVERY_NS:
            self._counted_at_ns = now_ns
            self.counted = Counted(self.counters(), self.skipped())

    def counters(self) -> dict[Counter, int]:
        """Return the kernel's own counts since the programs were loaded, over all CPUs."""
        libbpf.lookup(self.loaded.maps["counters"], _FIRST, self._counts)
        return {slot: sum(counts.of[slot] for counts in self._counts) for slot in Counter}

    def skipped(self) -> int:
        """Return how many events the kernel kept from the programs.

        It does so where a program would interrupt itself (recursion_misses of bpf_prog_info).
        """
        return sum(map(libbpf.recursion_misses, self.loaded.programs.values()))

    def close(self) -> None:
        """Detach the programs and free their maps."""
        self._ring.close()
        self.loaded.close()

    def _look(self, settle_ns: int) -> _Look:
        """Look at what has settled, and when the oldest of the others will have."""
        places = [(self._pending, self._room.read(self._pending))]
        if self._has_spilled():
            places.append((self._overflow, self._look_at_overflow()))
        now_ns = boot_clock_ns()
        latest = now_ns - settle_ns
        due = [
            _Due(Settled(pid, since, PendingKind(kind)), place)
            for place, found in places
            for pid, since, kind in found
            if since <= latest
        ]
        unsettled = [since for _, found in places for _, since, _ in found if since > latest]
        next_due = min(unsettled) + settle_ns if unsettled else None
        return _Look(due, unsettled, next_due, now_ns)

    def _has_spilled(self) -> bool:
        word = ctypes.c_uint32(0)
        libbpf.lookup(self._spilled, _FIRST, word)
        return bool(word.value)

    def _look_at_overflow(self) -> list[tuple[int, int, int]]:
        """Look at what found no room, and say whether that is to be done again.

        The word is cleared first: what comes in after that sets it.
        """
        self._more_room = self._more_room or _Room(layout.OVERFLOW_ENTRIES)
        libbpf.update(self._spilled, _FIRST, ctypes.c_uint32(0))
        found = self._more_room.read(self._overflow)
        if found:
            libbpf.update(self._spilled, _FIRST, ctypes.c_uint32(1))
        return found

    def _consume(self) -> None:
        for sample in self._ring.consume():
            event = RingEvent.from_buffer_copy(sample)
            if event.kind == EventKind.WAKE:
                self._awaited = False
            elif event.kind == EventKind.SETTLED:
                self._notice.came()
            else:
                self._ended.append(Ended(event.pid, event.at_ns, EventKind(event.kind)))

    def _arm(self, settle_ns: int) -> int | None:
        """Ask for a wake-up; return when to look instead, if something came in meanwhile.

        The program stores into `pending` and then loads `armed`, this stores `armed` and then looks
        into `pending`: without a full barrier on the program's side each may miss the other's
        store. There the look after this one comes soon: what it finds empty had nothing that was
        missed.
        """
        if self._awaited:
            self._empty_until_ns = boot_clock_ns() + EMPTY_NS
            return None
        libbpf.update(self._armed, _ARMED_FIRST, ctypes.c_uint32(1))
        self._awaited = True
        look = self._look(settle_ns)
        next_due = boot_clock_ns() if look.due else look.next_due_ns
        if next_due is None:
            now_ns = boot_clock_ns()
            self._empty_until_ns = now_ns + EMPTY_NS if IN_ORDER else 0
            return None if IN_ORDER else now_ns + SEEN_NS
        self._disarm()
        return next_due

    def _disarm(self) -> None:
        libbpf.update(self._armed, _ARMED_FIRST, ctypes.c_uint32(0))
        self._awaited = False


def attach(
    given_up: Callable[[], bool] = lambda: False, attaching: Attaching | None = None
) -> Probes:
    """Load and attach the programs; seconds at most, see `programs.load`.

    Args:
        given_up: asked now and then whether it is no longer wanted.
        attaching: what is at it already, where something is.

    Raises:
        ProbeError: eBPF does not work here, or it was given up.
    """
    libbpf.library()
    loaded = attaching.result() if attaching else programs.load(given_up=given_up)
    try:
        return Probes(loaded)
    except OSError as error:
        loaded.close()
        raise ProbeError(f"cannot map the eBPF ring buffer: {error}") from error
