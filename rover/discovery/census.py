"""Keep the table equal to what runs: by the first scan, the kernel's events and the reconcile.

With eBPF the events do the work and the reconcile only heals what was lost; without it the
reconcile, called more often, is all there is. One thread uses a census.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import psutil

from rover.clock import NANOSECONDS, NS_PER_TICK, boot_clock_ns
from rover.discovery.budget import SHORT, Budget
from rover.discovery.cgroup_rounds import NO_TREES
from rover.discovery.counts import Figures
from rover.discovery.doubts import Doubts
from rover.discovery.failed_processes import FailedProcesses
from rover.discovery.feed import Feed, Kind
from rover.discovery.late import LateReads
from rover.discovery.notices import Notices
from rover.discovery.procfs import AHEAD
from rover.discovery.repairs import Repairs, is_gone
from rover.discovery.runtime_stage import is_runtime_stage
from rover.discovery.second_looks import LOOK_PERIOD, SecondLooks
from rover.guard import Defect, Guard
from rover.model import Process, ProcessKey, Reason, Verdict
from rover.probes.layout import Counter, EventKind, PendingKind
from rover.table import Row, Why

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from typing import ParamSpec

    from rover.discovery.cgroup_rounds import Trees
    from rover.discovery.procfs import ProcReader
    from rover.discovery.procfs_text import KernelThread
    from rover.model import Changes
    from rover.naming.judge import Judge
    from rover.probes.settling import Ended, Probes, Taken
    from rover.table import Table

    P = ParamSpec("P")

DEEP_EVERY: Final = 10
"""Every so many reconciles read the stat of each process even where nothing was lost."""
INIT: Final = 1
"""Process 1 is handed all orphans: as such, the agent has children that are not its own."""

_HAPPENED: Final = {PendingKind.EXEC: Kind.EXEC, PendingKind.FORK: Kind.FORK}


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
        look_period: float = LOOK_PERIOD,
        trees: Trees = NO_TREES,
        own_pids: Collection[int] = frozenset(),
        budget: Budget | None = None,
        guard: Guard | None = None,
        feed: Feed | None = None,
    ) -> None:
        """Begin empty.

        Args:
            table: filled by this census alone.
            reader: reads /proc.
            judge: names processes.
            probes: attached programs; None where scanning is all there is.
            settle_time: seconds that a process must live to be heard of.
            look_period: seconds within which each old process is looked at for what it changed.
            trees: tell who is in a cgroup, so that not each process has to be asked.
            own_pids: the agent's own processes now, left out with their children.
            budget: of what processes may make it keep; the usual one where none is given.
            guard: runs what concerns one process; one of its own where none is given.
            feed: is told what happens, while somebody listens.
        """
        self.table = table
        self.budget = budget or Budget()
        self.figures = Figures()
        self.kernel_threads: dict[int, KernelThread] = {}
        self.kernel = dict.fromkeys(Counter, 0)
        """The kernel's own counts at the latest look."""
        self.next_due_ns: int | None = None
        """CLOCK_BOOTTIME at which the next process settles; None: sleep until the kernel wakes."""
        self.is_told = False
        """Whether the kernel wakes when something has settled, while things come in as now."""
        self.feed = feed or Feed()
        self._reader = reader
        self._judge = judge
        self._probes = probes
        self._settle_ns = int(settle_time * NANOSECONDS)
        self._own_pids = own_pids
        self._guard = guard or Guard()
        self._failed_processes = FailedProcesses(self._guard, table, reader)
        self.looks = SecondLooks(
            table=table,
            reader=reader,
            admit=self._admit,
            judge_again=self.judge_again,
            one=self._one,
            period=look_period,
            trees=trees,
        )
        self._doubts = Doubts(probes)
        self._repairs = Repairs(
            table=table,
            kernel_threads=self.kernel_threads,
            reader=reader,
            doubts=self._doubts,
            figures=self.figures,
            settle_ns=self._settle_ns,
            has_events=probes is not None,
            follow=self._follow,
            admit=self._admit,
            tell=self._tell,
        )
        self._lost = False
        self._unsure = False
        """A step failed: what it was to do is done by the next reconcile."""
        self._unfollowed = False
        """Some end will not be sent, for want of room."""
        self._notices = Notices(reader)
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
        self._notices.of_files_kept_back()
        self._notices.of_hidden_processes()

    def why(self, pid: int) -> Why | None:
        """Explain a live process or kernel thread; None where there is no such pid."""
        thread = self.kernel_threads.get(pid)
        if thread is not None:
            return Why(thread.as_process(), Reason.KERNEL_THREAD, "", (), ())
        why = self.table.why(pid)
        if why is not None and why.process.shortened:
            why = why._replace(detail=f"{why.detail}; {SHORT}" if why.detail else SHORT)
        return why and self.looks.explain(why)

    def take(self) -> bool:
        """Take what the kernel holds; tell whether that went well.

        `next_due_ns` tells when more of it will have settled.
        """
        self.next_due_ns, self.is_told = None, False
        if self._probes is None:
            return True
        if not isinstance(self._guard.whole("take", self._take, self._probes), Defect):
            return True
        self.doubt_all()
        return False

    def _take(self, probes: Probes) -> None:
        taken = probes.take(self._settle_ns)
        self.next_due_ns, self.is_told = taken.next_due_ns, taken.is_told
        for ended in taken.ended:
            self._one("end", ended.pid, self._end, ended)
        reused = {each.pid for each in taken.ended} & {each.pid for each in taken.settled}
        if reused:  # the end of the earlier process has just had its pid unfollowed
            self._follow(reused)
        kinds = {each.pid: each.kind for each in taken.settled} if self.feed.is_heard else {}
        for some in _portions([process.pid for process in taken.settled]):
            self._reader.ahead(some)
            for pid in some:
                self._one("settle", pid, self._settle, pid)
                if kinds:
                    self._tell(_HAPPENED[kinds[pid]], pid)
        self._count(taken, probes)

    def changes(self, now: float) -> Changes:
        """Return what the backend must be told since the last call; mend what failed first."""
        if self._failed_processes.some:
            self._unsure |= not self._failed_processes.mend()
            self.budget.recount(self.table)
        return self.table.changes(now)

    def doubt_all(self) -> None:
        """Have the next reconcile look at each process, and soon: events may have been lost."""
        self._unsure = True

    def lost_something(self) -> bool:
        """Tell whether events were lost since the last reconcile, so that one is due soon."""
        return self._lost or self._unsure

    def next_doubt(self) -> float | None:
        """Return the time.monotonic() of the next look at a process that one look left open."""
        parts = (self._doubts, self._repairs, self._late)
        return min((at for part in parts if (at := part.next_look()) is not None), default=None)

    def resolve_doubts(self, now: float) -> None:
        """Look again at processes that one look left open.

        They are those whose leader has ended, those that a reconcile has left to the kernel, and
        those that could not be read in time.
        """
        for pid in self._repairs.due(now):
            self._one("repair", pid, self._repairs.verify, pid)
        self._admit_all(self._late.due(now))
        for pid in self._doubts.due(now):
            self._one("doubt", pid, self._look_again, pid)

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
            or self.lost_something()
            or self._unfollowed
            or figures.reconciles % DEEP_EVERY == 0
        )
        if self._lost:
            self._notices.of_losses(figures)
        sure = self._probes is None or self.lost_something()
        self._lost = self._unsure = False
        figures.deep_reconciles += deep
        before = figures.repairs_new + figures.repairs_gone + figures.repairs_changed
        self._compare_all(deep=deep, sure=sure)
        if self.table.reasons[Reason.DEFECT]:
            for row in [row for row in self.table if row.verdict.reason is Reason.DEFECT]:
                self._one("admit", row.process.pid, self._admit, row.process.pid)
        self._notices.of_files_kept_back()
        return figures.repairs_new + figures.repairs_gone + figures.repairs_changed - before

    def _compare_all(self, *, deep: bool, sure: bool) -> None:
        pids = set(psutil.pids())
        self.take()  # who is not listed has told its end by now, who is new has settled or will
        known = self.table.pids() | self.kernel_threads.keys()
        if self._unfollowed and self._probes:
            self._unfollowed = bool(self._probes.follow(known & pids))
        for pid in known - pids:
            # of the ends of kernel threads no event tells
            self.figures.repairs_gone += pid not in self.kernel_threads
            self._one("remove", pid, self._remove, pid)
        for pid in pids - known:
            self._one("repair", pid, self._repairs.find, pid)
        for pid in known & pids if deep else ():
            self._one("repair", pid, self._repairs.compare, pid, sure)

    def judge_again(self, keys: Iterable[ProcessKey]) -> None:
        """Ask for a new verdict on processes that are still the same."""
        for key in keys:
            row = self.table.get(key.pid)
            if row is None or row.process.key != key:
                continue
            if row.verdict.reason is Reason.DEFECT:  # little may be known of it
                self._one("admit", key.pid, self._admit, key.pid)
            else:
                self._one("judge", key.pid, self._put, row.process)

    def _one(
        self, where: str, pid: int, step: Callable[P, object], *args: P.args, **kwargs: P.kwargs
    ) -> bool:
        """Do something about one process; tell whether it went well.

        If not, the next reconcile sees to it.
        """
        went_well = self._failed_processes.runs(where, pid, step, *args, **kwargs)
        self._unsure |= not went_well
        return went_well

    def _follow(self, pids: Collection[int]) -> None:
        """Have ends sent; before /proc is read, so that none falls between the two."""
        refused = self._probes.follow(pids) if self._probes else 0
        self.figures.unfollowed += refused
        self._unfollowed |= bool(refused)

    def _count(self, taken: Taken, probes: Probes) -> None:
        figures = self.figures
        figures.settled += len(taken.settled)
        figures.vanished += taken.gone
        figures.unfollowed += taken.unfollowed
        self._unfollowed |= bool(taken.unfollowed)
        counters, skipped = probes.counted
        self.kernel = counters
        lost = (counters[Counter.LOST_PENDING], counters[Counter.LOST_EVENT], skipped)
        if lost != (figures.lost_pending, figures.lost_events, figures.skipped) or taken.unfollowed:
            self._lost = True
            figures.lost_pending, figures.lost_events, figures.skipped = lost

    def _settle(self, pid: int) -> None:
        known = self.table.get(pid)
        process = self._admit(pid)
        if process is None:
            self.figures.vanished += 1
        elif known is not None and isinstance(process, Process):
            same = known.process.key == process.key
            self.figures.execs += same and known.process.image != process.image

    def _tell(self, kind: Kind, pid: int) -> None:
        """Tell who listens what happened to a process that is known."""
        row = self.table.get(pid) if self.feed.is_heard else None
        if row is not None:
            self._guard.one("feed", f"pid={pid}", self.feed.tell, kind, *row)

    def _admit_all(self, pids: Sequence[int]) -> None:
        for some in _portions(pids):
            self._reader.ahead(some)
            for pid in some:
                self._one("admit", pid, self._admit, pid)

    def _admit(self, pid: int) -> Process | KernelThread | None:
        """Read a process and put it into the table; what is gone or the kernel's leaves it.

        So does a container runtime's own stage: its exec is what brings it in.
        """
        known, ran = self.table.get(pid), self._reader.run_time(pid)
        process = self._reader.read(pid, known.process.image if known else None)
        if isinstance(process, Process) and is_runtime_stage(process, _age(process.key)):
            process = None
        if isinstance(process, Process):
            self.kernel_threads.pop(pid, None)
            if process.late:
                self._late.note(process.key, time.monotonic())
            else:
                self._late.drop(pid)
            self._put(_with_what_was_known(process, known))
            self.looks.note(known, process, ran)
            if process.leaderless:
                self._doubts.note(pid, time.monotonic())
            return process
        self._remove(pid)
        if process is not None:
            self.kernel_threads[pid] = process
        return process

    def _put(self, process: Process) -> None:
        known = self.table.get(process.pid)
        if known and known.process.key != process.key:
            self._forget(known.process.key)
        if known is not None:
            self.budget.remove(known)
        process = self.budget.fitted(process)
        own = Verdict(reason=Reason.SELF) if self._is_own(process) else None
        verdict = self.looks.steady(known, process, own or self._ask(process))
        self.table.put(process, verdict)
        self.budget.add(Row(process, verdict))

    def _is_own(self, process: Process) -> bool:
        parent = process.ppid
        return process.pid in self._own_pids or (parent in self._own_pids and parent != INIT)

    def _ask(self, process: Process) -> Verdict:
        late = f"its command line could not be read: {process.late}" if process.late else ""
        if late and self._late.is_patient(process.pid):
            return Verdict(reason=Reason.PENDING, detail=late)
        verdict = self._guard.one("judge", f"pid={process.pid}", self._judge.judge, process)
        if isinstance(verdict, Defect):
            verdict = Verdict(reason=Reason.DEFECT, detail=verdict.what)
        if not late:
            return verdict
        return replace(verdict, detail="; ".join(filter(None, (verdict.detail, late))))

    def _forget(self, key: ProcessKey) -> None:
        self._guard.one("forget", f"pid={key.pid}", self._judge.forget, key)
        self.looks.forget(key)

    def _remove(self, pid: int, kind: Kind = Kind.GONE) -> None:
        self.kernel_threads.pop(pid, None)
        self._doubts.drop(pid)
        self._late.drop(pid)
        row = self.table.get(pid)
        if row is not None:
            self._tell(kind, pid)
            self.table.remove(pid)
            self.budget.remove(row)
            self._forget(row.process.key)
        if self._probes:
            self._probes.unfollow(pid)

    def _end(self, ended: Ended) -> None:
        row = self.table.get(ended.pid)
        if row is None or row.process.key.start_ticks > ended.at_ns // NS_PER_TICK + 1:
            return  # not of interest, or the end of an earlier process with the same pid
        if ended.kind is not EventKind.EXIT:
            stat = self._reader.stat(ended.pid)
            another = stat is not None and stat.image != row.process.image
            if stat and not is_gone(row.process, stat) and (another or stat.threads > 1):
                if another:  # a thread's exec, or one that had not settled and now never will
                    self._admit(ended.pid)
                self._doubts.note(ended.pid, time.monotonic())
                return
        self.figures.exits += 1
        self._remove(ended.pid, Kind.EXIT)

    def _look_again(self, pid: int) -> None:
        row = self.table.get(pid)
        if row is None:
            self._doubts.drop(pid)
        elif is_gone(row.process, self._reader.stat(pid)):
            self._remove(pid)


def _age(key: ProcessKey) -> float:
    """Return the seconds since a process started."""
    return (boot_clock_ns() - key.start_ticks * NS_PER_TICK) / NANOSECONDS


def _with_what_was_known(process: Process, known: Row | None) -> Process:
    """Let a process that could not be read in time this time keep what was read of it before."""
    if not process.late or known is None:
        return process
    before = known.process
    if before.late or (before.key, before.image) != (process.key, process.image):
        return process
    return replace(
        process,
        arguments=before.arguments,
        redacted=before.redacted,
        shortened=before.shortened,
        place=before.place,
        late="",
    )


def _portions(pids: Sequence[int]) -> Iterator[Sequence[int]]:
    """Give pids in such portions as are asked for together."""
    for at in range(0, len(pids), AHEAD):
        yield pids[at : at + AHEAD]
