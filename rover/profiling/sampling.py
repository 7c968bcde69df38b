"""The kernel's sampler: which processes are sampled, and what was counted of them."""

from __future__ import annotations

import ctypes
import logging
import threading
import time
from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from rover.binaries.reader import ChildLost, GoneError, HeldUpError, Reader, ReadError
from rover.clock import host_ticks
from rover.errors import ProbeError
from rover.heap import give_back
from rover.probes import libbpf
from rover.probes.refusals import no_unwinding
from rover.profiling import layout
from rover.profiling.ahead import Ahead
from rover.profiling.counting import BITS, Counting, Followed
from rover.profiling.gaps import Gap, own_gaps
from rover.profiling.layout import TargetValue, Walk
from rover.profiling.loaded import Loaded
from rover.profiling.records import Target
from rover.profiling.usage import start_ticks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rover.profiling.records import StackCount

log = logging.getLogger("rover.profiling")

PERIOD_NS: Final = 10_100_000
"""Between two dumps on a CPU: no whole number of milliseconds, for programs keep time in those."""
MOST_SWITCHES: Final = 20_000
"""Of a process in a second; above, one of several is taken and weighs as much."""
LOOK_S: Final = 0.5
"""Between two looks whether processes have come to code that is not known."""
VAIN_LOOK_S: Final = 8.0
"""The same where such looks find nothing, as with java, whose compiled code ends most stacks."""
BLAMED_S: Final = 300.0
"""Seconds for which a process whose files held up the child is not sampled."""
MAX_BLAMED: Final = 1_024


class KernelSampler:
    """A `Sampler` by the programs of bpf/profile.c."""

    def __init__(
        self,
        period_ns: int = PERIOD_NS,
        *,
        most_switches: int = MOST_SWITCHES,
        unwind: bool = True,
        reader: Reader | None = None,
        given_up: Callable[[], bool] = lambda: False,
    ) -> None:
        """Load nothing yet.

        Args:
            period_ns: between two dumps on a CPU.
            most_switches: of a process in a second, above which one of several is taken.
            unwind: whether stacks are unwound by rows, as far as the kernel can; frame pointers
                alone are there to be compared with.
            reader: knows the code of processes.
            given_up: asked while programs are loaded, and what reads code is waited for, whether
                the end is wanted.
        """
        self._period_ns = period_ns
        self._most_switches = most_switches
        self._unwind = unwind
        self._reader = reader or Reader(hurried=given_up)
        self._given_up = given_up
        self._lock = threading.RLock()
        self._loaded: Loaded | None = None
        self._followed: dict[int, Followed] = {}
        self._counting = Counting(self._reader)
        self._blamed: dict[tuple[int, int], float] = {}
        self._child = 0
        self._told: list[Gap] = []
        self._watch: threading.Thread | None = None
        self._end_watch = threading.Event()

    @property
    def is_loaded(self) -> bool:
        """Whether programs are in the kernel."""
        return self._loaded is not None

    @property
    def not_unwound(self) -> str:
        """Why stacks are walked by frame pointers alone; empty where they are unwound."""
        return self._loaded.programs.not_unwound if self._loaded else ""

    def walks(self, pid: int) -> Counter[Walk]:
        """Return how the walks through a process's stacks ended, dump by dump."""
        followed = self._followed.get(pid)
        return Counter(followed.walks) if followed else Counter()

    def ended(self, pid: int) -> bool:
        """Tell whether a process that is followed has ended."""
        followed = self._followed.get(pid)
        return followed is None or followed.ended

    def follow(
        self,
        wanted: Mapping[int, frozenset[Target]],
        started: Mapping[int, int] = MappingProxyType({}),
    ) -> dict[int, str]:
        """Sample these processes for these targets and no others; see `Sampler`."""
        with self._lock:
            for pid in [each for each in self._followed if each not in wanted]:
                self._forget(pid)
            if not wanted:
                self._unload()
                return {}
            try:
                loaded = self._loaded or self._load(wanted)
            except ProbeError as error:
                return dict.fromkeys(wanted, str(error))
            refused = {}
            for pid, targets in wanted.items():
                if why := self._want(loaded, pid, targets, started.get(pid)):
                    refused[pid] = why
                    self._forget(pid)
            self._attach(loaded, refused)
            if not self._followed:
                self._unload()
            return refused

    def _attach(self, loaded: Loaded, refused: dict[int, str]) -> None:
        """Attach what is wanted of all, and note whom that is refused to."""
        wanted = frozenset().union(*(each.wanted for each in self._followed.values()))
        no_switches = loaded.attach_switches(wanted=Target.OFF_CPU in wanted)
        no_dumps = loaded.attach_clock(self._period_ns if Target.ON_CPU in wanted else None)
        for target, why in ((Target.OFF_CPU, no_switches), (Target.ON_CPU, no_dumps)):
            for pid in [pid for pid, each in self._followed.items() if target in each.wanted]:
                if why:
                    refused[pid] = why
                    self._forget(pid)

    def counts(self) -> Sequence[StackCount]:
        """Give all that was counted of the processes followed; see `Sampler`."""
        with self._lock:
            if self._loaded:
                self._look_again(self._loaded, self._followed)
                for part in self._loaded.drain.take():
                    self._counting.add(self._loaded.drain, part, self._followed)
                for pid, followed in self._followed.items():
                    value = followed.value if followed.ended else self._value(self._loaded, pid)
                    if value is not None:
                        self._counting.add_unkept(pid, followed, value)
                if self._loaded.clock:
                    try:
                        self._loaded.clock.follow_cpus()
                    except ProbeError as error:
                        log.warning("a CPU that came is not sampled: %s", error)
            return self._counting.counts()

    def close(self) -> None:
        """Detach and unload all."""
        with self._lock:
            for pid in list(self._followed):
                self._forget(pid)
            self._unload()

    def _load(self, pids: Iterable[int]) -> Loaded:
        """Load, and prepare these processes meanwhile.

        Raises:
            ProbeError: eBPF does not work here.
        """
        by_rows = self._unwind and not no_unwinding()
        ahead = Ahead(self._reader, pids if by_rows else ())
        try:
            loaded = self._loaded = Loaded(
                self._reader, self._most_switches, unwind=self._unwind, given_up=self._given_up
            )
        finally:
            ahead.finish()
            if self._loaded is None:
                self._reader.close()
        if ahead.held_up:
            self._blame(*ahead.held_up)
        if loaded.programs.not_unwound and self._unwind:
            log.warning(
                "stacks are walked by frame pointers, which most binaries lack: %s",
                loaded.programs.not_unwound,
            )
        lacking = own_gaps()
        for gap in lacking:
            if gap not in self._told:
                log.warning("profiles lack %s: %s", gap.lacks, gap.remedy)
        self._told = lacking
        self._end_watch.clear()
        self._watch = threading.Thread(target=self._watch_news, name="profiling-code", daemon=True)
        self._watch.start()
        return loaded

    def _unload(self) -> None:
        loaded, self._loaded = self._loaded, None
        self._end_watch.set()
        self._reader.close()
        self._child = 0
        if loaded:
            loaded.close()
            del loaded
            give_back()

    def _want(
        self, loaded: Loaded, pid: int, targets: frozenset[Target], started: int | None
    ) -> str:
        """Begin or go on with a process; say why not."""
        followed = self._followed.get(pid)
        if followed is None:
            return self._begin(loaded, pid, targets, started)
        if followed.wanted != targets:
            for target in followed.wanted - targets:
                self._counting.forget(pid, target)
            followed.wanted = targets
            if not followed.ended:
                self._rewrite(loaded, pid, followed)
        return ""

    def _begin(
        self, loaded: Loaded, pid: int, targets: frozenset[Target], started: int | None
    ) -> str:
        """Begin with a process; say why not."""
        if len(self._followed) >= layout.TARGETS:
            return f"no more than {layout.TARGETS} processes are sampled at once"
        try:
            followed = Followed(start_ticks(pid), targets)
        except (OSError, ValueError, IndexError):
            return "it has ended"
        if started is not None and host_ticks(followed.ticks) != started:
            return "it has ended, and its pid is another process's"
        if self._blamed.get((pid, followed.ticks), 0.0) > time.monotonic():
            return "what reads its code was held up by it lately"
        try:
            self._enter(loaded, pid, followed)
        except (ReadError, OSError) as error:
            loaded.code.leave(pid)
            if isinstance(error, ChildLost):
                self._blame(pid, followed.ticks)
            return str(error)
        self._followed[pid] = followed
        return ""

    def _blame(self, pid: int, ticks: int) -> None:
        """Leave a process alone for a while: it held up the child that reads its files."""
        if len(self._blamed) >= MAX_BLAMED:
            self._blamed.clear()
        self._blamed[pid, ticks] = time.monotonic() + BLAMED_S

    def _enter(self, loaded: Loaded, pid: int, followed: Followed) -> None:
        """Make the code of a process known to the kernel, as it is now.

        Raises:
            ReadError: it has ended, or its code cannot be read.
        """
        generation, mappings = self._reader.look(pid, followed.ticks)
        if self._child != self._reader.started:
            self._child = self._reader.started
            loaded.code.forget_rows()
            for other in self._followed.values():
                other.value.generation, other.look_at = 0, 0.0  # entered anew at the next look
        if not loaded.programs.not_unwound:
            first, amount = loaded.code.enter(pid, mappings)
            followed.value.mappings, followed.value.amount = first, amount
        # a look's number is for ever, in the kernel it has 16 bits of which 0 says "none"
        followed.value.generation = (generation - 1) % 0xFFFF + 1
        followed.value.mm = 0
        self._rewrite(loaded, pid, followed)

    def _rewrite(self, loaded: Loaded, pid: int, followed: Followed) -> None:
        value, key = TargetValue(), ctypes.c_uint32(pid)
        if libbpf.lookup(loaded.programs.maps["targets"], key, value):
            for name in ("unkept_on", "unkept_off", "unkept_ns", "window_ns", "switches", "every"):
                setattr(followed.value, name, getattr(value, name))
            followed.value.news = value.news
        followed.value.wanted = sum(BITS[target] for target in followed.wanted)
        libbpf.update(loaded.programs.maps["targets"], key, followed.value)

    def _forget(self, pid: int) -> None:
        followed = self._followed.pop(pid, None)
        if followed is None or self._loaded is None:
            return
        libbpf.delete(self._loaded.programs.maps["targets"], ctypes.c_uint32(pid))
        self._loaded.drain.forget(pid)
        self._loaded.code.leave(pid)
        self._reader.forget(pid)
        for target in followed.wanted:
            self._counting.forget(pid, target)

    def _watch_news(self) -> None:
        """Look again at processes that came to code that is not known, until all is unloaded."""
        while not self._end_watch.wait(LOOK_S):
            with self._lock:
                loaded = self._loaded
                if loaded is None or self._end_watch.is_set():
                    return
                news = {}
                for pid, followed in self._followed.items():
                    value = self._value(loaded, pid)
                    if value is None or time.monotonic() < followed.look_at:
                        continue
                    if value.news != followed.value.news or not followed.value.generation:
                        news[pid] = followed
                try:
                    self._look_again(loaded, news)
                except OSError as error:
                    log.warning("mappings of processes cannot be renewed: %s", error)

    def _value(self, loaded: Loaded, pid: int) -> TargetValue | None:
        value = TargetValue()
        found = libbpf.lookup(loaded.programs.maps["targets"], ctypes.c_uint32(pid), value)
        return value if found else None

    def _look_again(self, loaded: Loaded, followed: dict[int, Followed]) -> None:
        """Renew what is known of the code of processes, where it has changed."""
        for pid, each in list(followed.items()):
            if each.ended:
                continue
            try:
                known = each.value.generation
                generation, _ = self._reader.look(pid, each.ticks)
                value = self._value(loaded, pid)
                moved = value is not None and value.news != each.value.news
                if self._child != self._reader.started or generation != known:
                    each.vain = 0
                    self._enter(loaded, pid, each)
                elif moved:  # it may be the same program in a new address space
                    _put_off(each)
                    each.value.mm = 0
                    self._rewrite(loaded, pid, each)
            except GoneError:
                self._end(loaded, pid, each)
            except ChildLost as error:
                log.warning("process %d is sampled no longer, for its code: %s", pid, error)
                self._blame(pid, each.ticks)
                self._end(loaded, pid, each)
            except HeldUpError as error:
                log.warning("process %d is sampled no longer: %s", pid, error)
                self._end(loaded, pid, each)
            except ReadError as error:
                _put_off(each)
                log.warning("the code of process %d cannot be read again: %s", pid, error)

    def _end(self, loaded: Loaded, pid: int, followed: Followed) -> None:
        """Sample a process no longer; what was counted stays."""
        value = self._value(loaded, pid)
        if value is not None:
            followed.value = value
            libbpf.delete(loaded.programs.maps["targets"], ctypes.c_uint32(pid))
        followed.ended = True


def _put_off(followed: Followed) -> None:
    """Look at a process again ever more rarely, for it was in vain."""
    followed.vain += 1
    pause = min(LOOK_S * 2 ** min(followed.vain, 10), VAIN_LOOK_S)
    followed.look_at = time.monotonic() + pause
