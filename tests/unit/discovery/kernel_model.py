"""A kernel that forks, execs and ends at a test's command, as the census sees it.

It keeps what bpf/process.c keeps, in its two variants (does an exit say that it is the process's
last, or not), with maps and a ring as small as the test wants them. Time moves only when told to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

from rover.clock import TICKS_PER_SECOND
from rover.discovery.procfs import Unreadable
from rover.discovery.procfs_text import Stat
from rover.model import Process, ProcessKey
from rover.probes.layout import FOLLOW, FOLLOW_THREADS, Counter, EventKind, PendingKind
from rover.probes.settling import Counted, Ended, Settled, Taken

SECOND = 1_000_000_000


@dataclass
class Task:
    """A process, or what is left of it."""

    pid: int
    start_ticks: int
    ppid: int
    names: str
    """Entities that it claims, a letter each."""
    pod: str = ""
    image: int = 0
    leader: bool = True
    """Whether its first thread runs."""
    threads: int = 0
    """Further threads that run."""
    ran: int = 1
    """For how long it has run."""

    @property
    def ended(self) -> bool:
        return not self.leader and not self.threads

    @property
    def key(self) -> ProcessKey:
        return ProcessKey(self.pid, self.start_ticks)


class Kernel:
    """Processes, and the maps that the programs fill."""

    def __init__(self, *, group_dead: bool, pending: int, tracked: int, ring: int) -> None:
        self.group_dead = group_dead
        self.rooms = {"pending": pending, "tracked": tracked, "ring": ring}
        self.now_ns = 1_000 * SECOND
        self.tasks: dict[int, Task] = {}
        self.pending: dict[int, int] = {}
        self.threaded: set[int] = set()
        """Of these, which have made a thread since."""
        self.tracked: dict[int, int] = {}
        self.ring: deque[Ended] = deque()
        self.counts = dict.fromkeys(Counter, 0)
        self.skipped = 0
        self.skips_next = False
        """Whether the kernel will not run the program at the next event."""
        self.disturbances: deque[Callable[[], object]] = deque()
        """What happens meanwhile, one at each point at which the agent could be overtaken."""

    def disturb(self) -> None:
        """Let the next thing happen."""
        if self.disturbances:
            self.disturbances.popleft()()

    def elapse(self, seconds: float) -> None:
        self.now_ns += int(seconds * SECOND)

    # --- what processes do ---

    def fork(self, ppid: int, names: str, pod: str) -> None:
        """Start a process with the lowest pid that is free, so that pids are used again soon."""
        pid = next(pid for pid in range(2, 1_000) if pid not in self.tasks)
        self.elapse(1 / TICKS_PER_SECOND)  # no two with a pid in one tick: no kernel reuses so fast
        ticks = self.now_ns * TICKS_PER_SECOND // SECOND
        self.tasks[pid] = Task(pid, ticks, ppid, names, pod)
        self._enter(pid)

    def execve(self, task: Task, names: str) -> None:
        """Become another program; all threads but one end, which has the leader's pid."""
        task.image, task.names, task.threads, task.leader = task.image + 1, names, 0, True
        task.ran += 1
        self._enter(task.pid)

    def rename(self, task: Task, names: str) -> None:
        """Set another title."""
        task.names = names
        task.ran += 1

    def move(self, task: Task, pod: str) -> None:
        """Be moved to another cgroup, by somebody else."""
        task.pod = pod

    def end(self, task: Task) -> None:
        """End with all threads; a zombie stays until `reap`."""
        while task.threads:
            self.end_thread(task)
        if task.leader:
            self.end_leader(task)

    def end_leader(self, task: Task) -> None:
        task.leader = False
        if not self._runs():
            return
        if not self.group_dead:
            if task.pid not in self.threaded:
                self._leave(task.pid)
            if task.pid in self.tracked:
                self._send(task.pid, EventKind.LEADER)
        elif task.ended:
            self._dead(task.pid)

    def end_thread(self, task: Task) -> None:
        task.threads -= 1
        if not self._runs():
            return
        if not self.group_dead:
            if self.tracked.get(task.pid, 0) & FOLLOW_THREADS:
                self._send(task.pid, EventKind.THREAD)
        elif task.ended:
            self._dead(task.pid)

    def end_and_reap(self, task: Task) -> None:
        self.end(task)
        self.reap(task)

    def start_thread(self, task: Task) -> None:
        task.threads += 1
        if self._runs() and not self.group_dead and task.pid in self.pending:
            self.threaded.add(task.pid)

    def reap(self, task: Task) -> None:
        """Take the exit status: the pid is free."""
        del self.tasks[task.pid]

    def skip(self) -> None:
        """Not run the program at the next event, as the kernel does where one is running."""
        self.skips_next = True

    # --- what the programs do ---

    def _runs(self) -> bool:
        if self.skips_next:
            self.skips_next = False
            self.skipped += 1
            return False
        return True

    def _enter(self, pid: int) -> None:
        if not self._runs() or pid in self.pending:
            return
        if len(self.pending) >= self.rooms["pending"]:
            self.counts[Counter.LOST_PENDING] += 1
        else:
            self.pending[pid] = self.now_ns
            self.threaded.discard(pid)

    def _leave(self, pid: int) -> None:
        self.pending.pop(pid, None)

    def _dead(self, pid: int) -> None:
        self._leave(pid)
        if self.tracked.pop(pid, 0):
            self._send(pid, EventKind.EXIT)

    def _send(self, pid: int, kind: EventKind) -> None:
        if len(self.ring) >= self.rooms["ring"]:
            self.counts[Counter.LOST_EVENT] += 1
        else:
            self.ring.append(Ended(pid, self.now_ns, kind))


class ModelProbes:
    """`rover.probes.settling.Probes` over the model; the steps of `take` are those of the real."""

    def __init__(self, kernel: Kernel) -> None:
        self.loaded = SimpleNamespace(missing=(), last_known=kernel.group_dead)
        self._kernel = kernel

    def follow(self, pids: Iterable[int]) -> int:
        tracked, refused = self._kernel.tracked, 0
        for pid in pids:
            if pid in tracked or len(tracked) < self._kernel.rooms["tracked"]:
                tracked[pid] = FOLLOW
            else:
                refused += 1
        return refused

    def follow_threads(self, pid: int) -> None:
        if pid in self._kernel.tracked or not self.follow([pid]):
            self._kernel.tracked[pid] = FOLLOW | FOLLOW_THREADS

    def unfollow(self, pid: int) -> None:
        self._kernel.tracked.pop(pid, None)

    def take(self, settle_ns: int) -> Taken:
        kernel = self._kernel
        latest = kernel.now_ns - settle_ns
        due = [pid for pid, since in kernel.pending.items() if since <= latest]
        later = [since for since in kernel.pending.values() if since > latest]
        kernel.disturb()
        unfollowed = self.follow(due)
        kernel.disturb()
        settled, gone = [], 0
        for pid in due:
            if kernel.pending.pop(pid, None) is None:
                self.unfollow(pid)
                gone += 1
            else:
                settled.append(Settled(pid, latest, PendingKind.FORK))
            kernel.disturb()
        ended = list(kernel.ring)
        kernel.ring.clear()
        kernel.disturb()
        next_due = min(later) + settle_ns if later else None
        return Taken(settled, ended, gone, unfollowed, next_due)

    @property
    def counted(self) -> Counted:
        return Counted(dict(self._kernel.counts), self._kernel.skipped)


class ModelReader:
    """`rover.discovery.procfs.ProcReader` over the model."""

    def __init__(self, kernel: Kernel) -> None:
        self.unreadable = Unreadable()
        self.reads = 0
        self._kernel = kernel

    def mounts(self) -> str:
        return ""

    def ahead(self, pids: Sequence[int]) -> None:
        """Nothing is asked for before it is read."""

    def stat(self, pid: int) -> Stat | None:
        self._kernel.disturb()
        task = self._kernel.tasks.get(pid)
        if task is None:
            return None
        return Stat(
            name="x",
            state="S" if task.leader else "Z",
            ppid=task.ppid,
            kernel_thread=False,
            threads=task.threads + 1,
            start_ticks=task.start_ticks,
            image=task.image,
        )

    def run_time(self, pid: int) -> int | None:
        self._kernel.disturb()
        task = self._kernel.tasks.get(pid)
        return task and task.ran

    def cgroup(self, pid: int) -> str | None:
        self._kernel.disturb()
        task = self._kernel.tasks.get(pid)
        return task and task.pod

    def is_as(self, known: Process) -> bool:
        self._kernel.disturb()
        task = self._kernel.tasks.get(known.pid)
        return task is not None and task.names == known.command_line

    def read(self, pid: int, _known: int | None = None) -> Process | None:
        self._kernel.disturb()
        self.reads += 1
        task = self._kernel.tasks.get(pid)
        if task is None or task.ended:
            return None
        return Process(
            key=task.key,
            ppid=task.ppid,
            name="x",
            exe="/x",
            arguments=task.names.encode(),
            cwd="/",
            uid=0,
            cgroup=task.pod,
            pid_namespace=1,
            mount_namespace=1,
            namespace_pid=pid,
            image=task.image,
            leaderless=not task.leader,
        )


class ModelTrees:
    """`rover.discovery.cgroup_rounds.Trees` over the model."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def places(self, cgroup: str) -> tuple[str, ...]:
        return (cgroup,)

    def members(self, place: str) -> frozenset[bytes]:
        self._kernel.disturb()
        living = (task for task in self._kernel.tasks.values() if not task.ended)
        return frozenset(b"%d" % task.pid for task in living if task.pod == place)
