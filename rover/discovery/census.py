"""Keep the table equal to what runs: by the first scan, the kernel's events and the reconcile.

With eBPF the events do the work and the reconcile only heals what was lost; without it the
reconcile, called more often, is all there is. One thread uses a census.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import psutil

from rover.capabilities import LOOK_INTO_ANY_PROCESS, hidepid, own_capabilities, remedy
from rover.clock import NANOSECONDS, NS_PER_TICK, boot_clock_ns
from rover.discovery.late import LateReads
from rover.discovery.procfs import AHEAD
from rover.model import Process, ProcessKey, Reason, Verdict
from rover.probes.layout import Counter, EventKind
from rover.table import Why

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from rover.discovery.procfs import KernelThread, ProcReader, Stat
    from rover.naming.judge import Judge
    from rover.probes.settling import Ended, Probes, Taken
    from rover.table import Table

log = logging.getLogger("rover.discovery")

DEEP_EVERY: Final = 10
"""Every so many reconciles read the stat of each process even where nothing was lost."""
INIT: Final = 1
"""Process 1 is handed all orphans: as such, the agent has children that are not its own."""
DEFECTS_TOLD: Final = 10
"""Tracebacks in the log; all are counted."""
IN_HAND_NS: Final = NANOSECONDS // 4
"""A process that has settled this lately may still be on its way from the kernel's maps."""
IN_HAND_S: Final = 0.5
"""Seconds after which the kernel's maps have been looked at for it; if not, its event was lost."""
DOUBT_S: Final = (0.05, 0.1, 0.2, 0.4)
"""Pauses between looks at a process whose leader ended: its last thread may take a while to go."""


@dataclass(slots=True)
class Figures:
    """What the census has done since it began; plain counts, read by the metrics."""

    settled: int = 0
    """Processes that came through the kernel's settling."""
    vanished: int = 0
    """Of these, gone before /proc could be read."""
    exits: int = 0
    execs: int = 0
    """Processes known already whose image changed."""
    unfollowed: int = 0
    """Not followed for want of room; their exits are found by the reconcile."""
    lost_pending: int = 0
    lost_events: int = 0
    reconciles: int = 0
    deep_reconciles: int = 0
    repairs_new: int = 0
    """Processes that the reconcile found and no event had told of."""
    repairs_gone: int = 0
    repairs_changed: int = 0
    defects: int = 0
    """Processes that no verdict could be had on."""


class Census:
    """Who runs here, and since when it is known."""

    def __init__(
        self,
        *,
        table: Table,
        reader: ProcReader,
        judge: Judge,
        probes: Probes | None,
        settle_time: float,
        own_pids: Collection[int] = frozenset(),
    ) -> None:
        """Begin empty.

        Args:
            table: filled by this census alone.
            reader: reads /proc.
            judge: names processes.
            probes: attached programs; None where scanning is all there is.
            settle_time: seconds that a process must live to be heard of.
            own_pids: the agent's own processes now, left out with their children.
        """
        self.table = table
        self.figures = Figures()
        self.kernel_threads: dict[int, KernelThread] = {}
        self.kernel = dict.fromkeys(Counter, 0)
        """The kernel's own counts at the latest look."""
        self._reader = reader
        self._judge = judge
        self._probes = probes
        self._settle_ns = int(settle_time * NANOSECONDS)
        self._own_pids = own_pids
        self._doubts: dict[int, tuple[float, int]] = {}
        self._young: set[int] = set()
        """Left to the kernel by the latest reconcile."""
        self._young_at: float | None = None
        self._lost = False
        self._unfollowed = False
        """Some end will not be sent, for want of room."""
        self._lost_told = (0, 0, 0)
        self._hidden: set[str] = set()
        self._late = LateReads()

    @property
    def late(self) -> int:
        """How many processes could not be read in time, and are looked at again."""
        return len(self._late)

    @property
    def reads(self) -> int:
        """How many processes were read in /proc."""
        return self._reader.reads

    def scan(self) -> None:
        """Read every process; the programs are attached before and drained after this."""
        pids = psutil.pids()
        self._follow(pids)
        self._admit_all(pids)
        self._tell_hidden()
        effective = own_capabilities()
        if option := hidepid(self._reader.mounts(), effective):
            log.warning(
                "/proc is mounted with %s: processes of other users may be missing; %s",
                option,
                remedy(effective, LOOK_INTO_ANY_PROCESS),
            )

    def why(self, pid: int) -> Why | None:
        """Explain a live process or kernel thread; None where there is no such pid."""
        thread = self.kernel_threads.get(pid)
        if thread is not None:
            return Why(thread.as_process(), Reason.KERNEL_THREAD, "", (), ())
        return self.table.why(pid)

    def take(self) -> int | None:
        """Take what the kernel holds; return the CLOCK_BOOTTIME (ns) at which more will settle."""
        probes = self._probes
        if probes is None:
            return None
        taken = probes.take(self._settle_ns)
        for ended in taken.ended:
            self._end(ended)
        reused = {ended.pid for ended in taken.ended}.intersection(
            process.pid for process in taken.settled
        )
        if reused:  # the end of the earlier process has just had its pid unfollowed
            self._follow(reused)
        for some in _portions([process.pid for process in taken.settled]):
            self._reader.ahead(some)
            for pid in some:
                self._settle(pid)
        self._count(taken, probes)
        return taken.next_due_ns

    def lost_something(self) -> bool:
        """Tell whether events were lost since the last reconcile, so that one is due soon."""
        return self._lost

    def next_doubt(self) -> float | None:
        """Return the time.monotonic() of the next look at a process that one look left open."""
        times = [at for at, _ in self._doubts.values()]
        times += [at for at in (self._young_at, self._late.next_look()) if at is not None]
        return min(times, default=None)

    def resolve_doubts(self, now: float) -> None:
        """Look again at processes whose leader has ended, and at the young and the late ones.

        A reconcile leaves young ones to the kernel; late ones could not be read in time.
        """
        if self._young_at is not None and self._young_at <= now:
            young, self._young, self._young_at = self._young, set(), None
            for pid in young:
                if self.table.get(pid) is None:
                    self._find(pid)
        self._admit_all(self._late.due(now))
        for pid in [pid for pid, (at, _) in self._doubts.items() if at <= now]:
            _, looks = self._doubts.pop(pid)
            row = self.table.get(pid)
            if row is None:
                continue
            if self._is_gone(row.process, self._reader.stat(pid)):
                self._remove(pid)
            elif looks + 1 < len(DOUBT_S):
                self._doubts[pid] = (now + DOUBT_S[looks + 1], looks + 1)

    def reconcile(self) -> int:
        """Compare the table with /proc and put it right; return how many rows were repaired.

        Pids are compared first. The stat of a known process is read only where its pid may have
        changed hands unseen: without eBPF, after a loss, and every DEEP_EVERY times.
        """
        figures = self.figures
        figures.reconciles += 1
        deep = (
            self._probes is None
            or bool(self._probes.loaded.missing)
            or self._lost
            or self._unfollowed
            or figures.reconciles % DEEP_EVERY == 0
        )
        if self._lost:
            self._tell_lost()
        self._lost = False
        figures.deep_reconciles += deep
        before = figures.repairs_new + figures.repairs_gone + figures.repairs_changed
        pids = set(psutil.pids())
        known = self.table.pids() | self.kernel_threads.keys()
        if self._unfollowed and self._probes:
            self._unfollowed = bool(self._probes.follow(known & pids))
        for pid in known - pids:
            self._remove(pid)
            figures.repairs_gone += 1
        for pid in pids - known:
            self._find(pid)
        if deep:
            for pid in known & pids:
                self._verify(pid)
        self._tell_hidden()
        return figures.repairs_new + figures.repairs_gone + figures.repairs_changed - before

    def judge_again(self, keys: Iterable[ProcessKey]) -> None:
        """Ask for a new verdict on processes that are still the same."""
        for key in keys:
            row = self.table.get(key.pid)
            if row is not None and row.process.key == key:
                self._put(row.process)

    def _follow(self, pids: Collection[int]) -> None:
        """Have ends sent; before /proc is read, so that none falls between the two."""
        if self._probes:
            refused = self._probes.follow(pids)
            self.figures.unfollowed += refused
            self._unfollowed |= bool(refused)

    def _count(self, taken: Taken, probes: Probes) -> None:
        figures = self.figures
        figures.settled += len(taken.settled)
        figures.vanished += taken.gone
        figures.unfollowed += taken.unfollowed
        self._unfollowed |= bool(taken.unfollowed)
        counters = self.kernel = probes.counters()
        lost = (counters[Counter.LOST_PENDING], counters[Counter.LOST_EVENT])
        if lost != (figures.lost_pending, figures.lost_events) or taken.unfollowed:
            self._lost = True
            figures.lost_pending, figures.lost_events = lost

    def _settle(self, pid: int) -> None:
        known = self.table.get(pid)
        process = self._admit(pid)
        if process is None:
            self.figures.vanished += 1
        elif known is not None and isinstance(process, Process):
            same = known.process.key == process.key
            self.figures.execs += same and known.process.image != process.image

    def _admit_all(self, pids: Sequence[int]) -> None:
        for some in _portions(pids):
            self._reader.ahead(some)
            for pid in some:
                self._admit(pid)

    def _admit(self, pid: int) -> Process | KernelThread | None:
        """Read a process and put it into the table; what is gone or the kernel's leaves it."""
        process = self._reader.read(pid)
        if isinstance(process, Process):
            self.kernel_threads.pop(pid, None)
            if process.late:
                self._late.note(process.key, time.monotonic())
            else:
                self._late.drop(pid)
            self._put(process)
            if process.leaderless:
                self._doubt(pid)
            return process
        self._remove(pid)
        if process is not None:
            self.kernel_threads[pid] = process
        return process

    def _put(self, process: Process) -> None:
        known = self.table.get(process.pid)
        if known is not None and known.process.key != process.key:
            self._judge.forget(known.process.key)
        verdict = Verdict(reason=Reason.SELF) if self._is_own(process) else self._ask(process)
        self.table.put(process, verdict)

    def _is_own(self, process: Process) -> bool:
        parent = process.ppid
        return process.pid in self._own_pids or (parent in self._own_pids and parent != INIT)

    def _ask(self, process: Process) -> Verdict:
        late = f"its command line could not be read: {process.late}" if process.late else ""
        if late and self._late.is_patient(process.pid):
            return Verdict(reason=Reason.PENDING, detail=late)
        try:
            verdict = self._judge.judge(process)
        except Exception as error:  # a defect that one process brings out must not cost the others
            self.figures.defects += 1
            if self.figures.defects <= DEFECTS_TOLD:
                log.exception("defect pid=%d; please report it", process.pid)
            return Verdict(reason=Reason.DEFECT, detail=repr(error))
        if not late:
            return verdict
        return replace(verdict, detail="; ".join(filter(None, (verdict.detail, late))))

    def _remove(self, pid: int) -> None:
        if self._probes:
            self._probes.unfollow(pid)
        self.kernel_threads.pop(pid, None)
        self._doubts.pop(pid, None)
        self._late.drop(pid)
        process = self.table.remove(pid)
        if process is not None:
            self._judge.forget(process.key)

    def _doubt(self, pid: int) -> None:
        """Look again, now and then, whether a process without leader still runs.

        Which of its threads do cannot be told while one is on its way out. Kernels whose exit says
        that it is the last need none of this, and lose nothing by it.
        """
        if self._probes:
            self._probes.follow_threads(pid)
        self._doubts[pid] = (time.monotonic() + DOUBT_S[0], 0)

    def _end(self, ended: Ended) -> None:
        row = self.table.get(ended.pid)
        if row is None or row.process.key.start_ticks > ended.at_ns // NS_PER_TICK + 1:
            return  # not of interest, or the end of an earlier process with the same pid
        if ended.kind is not EventKind.EXIT:
            stat = self._reader.stat(ended.pid)
            if not self._is_gone(row.process, stat) and stat and stat.threads > 1:
                if stat.image != row.process.image:
                    self._admit(ended.pid)  # it had not settled since its exec, and now never will
                self._doubt(ended.pid)
                return
        self.figures.exits += 1
        self._remove(ended.pid)

    @staticmethod
    def _is_gone(process: Process, stat: Stat | None) -> bool:
        return stat is None or stat.ended or stat.start_ticks != process.key.start_ticks

    def _find(self, pid: int) -> None:
        """Take in a process that no event told of, if it has lived for the settle time."""
        stat = self._reader.stat(pid)
        if stat is None or stat.ended:
            return
        slack = IN_HAND_NS if self._probes else 0
        if boot_clock_ns() - stat.start_ticks * NS_PER_TICK < self._settle_ns + slack:
            # The kernel has it in hand, unless its event was lost: then it is found at the next
            # look. Without eBPF the next scan finds it.
            if self._probes:
                self._young.add(pid)
                self._young_at = time.monotonic() + self._settle_ns / NANOSECONDS + IN_HAND_S
            return
        self._follow([pid])
        found = self._admit(pid)
        if isinstance(found, Process):
            self.figures.repairs_new += 1

    def _verify(self, pid: int) -> None:
        """Read again what is not as it was: another process with the pid, or another image."""
        row = self.table.get(pid)
        stat = self._reader.stat(pid)
        if row is None:
            thread = self.kernel_threads[pid]
            same = stat is not None and stat.start_ticks == thread.key.start_ticks
        else:
            same = not self._is_gone(row.process, stat) and stat is not None
            same = same and stat is not None and stat.image == row.process.image
        if not same:
            self._follow([pid])
            self._admit(pid)
            self.figures.repairs_changed += 1
        elif stat and stat.leaderless and pid not in self._doubts:
            self._doubt(pid)

    def _tell_lost(self) -> None:
        figures, told = self.figures, self._lost_told
        lost = (figures.lost_pending, figures.lost_events, figures.unfollowed)
        log.warning(
            "events lost pending_full=%d ring_full=%d not_followed=%d; this reconcile heals it",
            *(now - before for now, before in zip(lost, told, strict=True)),
        )
        self._lost_told = lost

    def _tell_hidden(self) -> None:
        unreadable = self._reader.unreadable
        if unreadable.files <= self._hidden:
            return
        self._hidden |= unreadable.files
        log.warning(
            "/proc keeps back files=%s times=%d; processes are reported with fewer facts; %s",
            ",".join(sorted(unreadable.files)),
            unreadable.times,
            remedy(own_capabilities(), LOOK_INTO_ANY_PROCESS),
        )


def _portions(pids: Sequence[int]) -> Iterator[Sequence[int]]:
    """Give pids in such portions as are asked for together."""
    for at in range(0, len(pids), AHEAD):
        yield pids[at : at + AHEAD]
