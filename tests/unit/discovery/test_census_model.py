"""Whatever processes do, and whatever is lost: after a reconcile the table is what runs.

So is what they change of themselves, and where others move them, after one round of second looks.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from kernel_model import SECOND, Kernel, ModelProbes, ModelReader, ModelTrees

from rover import flapping
from rover.discovery import census as census_module
from rover.discovery import repairs, second_looks
from rover.discovery.budget import Budget
from rover.discovery.census import Census
from rover.discovery.cgroup_rounds import NO_TREES
from rover.discovery.doubts import PAUSES_S
from rover.discovery.repairs import IN_HAND_S
from rover.discovery.revisits import AGES
from rover.discovery.second_looks import LOOK_PERIOD
from rover.flapping import PAUSES
from rover.model import Entity, EntityKey, Process, ProcessKey, Reason, Report, Verdict
from rover.probes.layout import Counter
from rover.table import Table

SETTLE = 0.1
MOST_TASKS = 8
NAMES = st.text("abc", min_size=0, max_size=2).map(lambda text: "".join(sorted(set(text))))
PODS = ("", "p", "q")
MOST_THREADS = 2
"""Beside the leader."""
WHATS = (
    *("fork", "fork", "exec", "thread execs", "end", "end and reap", "end and reap"),
    *("leader ends", "thread starts", "thread ends", "reap", "kernel skips"),
    *("renames itself", "is moved"),
)
"""What processes do; what is named twice is done more often."""


class PodsJudge:
    """Names a process by the letters it bears, once its pod is known, and by the pod's version."""

    def __init__(self) -> None:
        self.versions: dict[str, int] = {"": 0}
        self.asked: dict[ProcessKey, Process] = {}

    def judge(self, process: Process) -> Verdict:
        self.asked[process.key] = process
        version = self.versions.get(process.cgroup)
        if version is None:
            return Verdict(reason=Reason.POD_UNKNOWN)
        return Verdict(
            tuple(
                Report(Entity("OS_LINUX", f"{process.cgroup}{version}", "host", letter), process)
                for letter in process.command_line
            )
        )

    def forget(self, key: ProcessKey) -> None:
        self.asked.pop(key, None)

    def change(self, pod: str) -> list[ProcessKey]:
        """Let a pod be known, or its labels change; return the processes to judge again."""
        self.versions[pod] = self.versions.get(pod, 0) + 1
        return [key for key, process in self.asked.items() if process.cgroup == pod]


class CensusMachine(RuleBasedStateMachine):
    """A census over a kernel that does what it likes."""

    ebpf = True
    group_dead = True
    trees = True
    """Whether the agent sees who is in a cgroup."""

    def __init__(self) -> None:
        super().__init__()
        self.backend: dict[EntityKey, Report] = {}
        self.patches = pytest.MonkeyPatch()

    @initialize(
        pending=st.sampled_from([1, 2, 100]),
        tracked=st.sampled_from([2, 4, 100]),
        ring=st.sampled_from([0, 1, 100]),
        running=st.integers(0, 4),
    )
    def boot(self, pending: int, tracked: int, ring: int, running: int) -> None:
        self.kernel = kernel = Kernel(
            group_dead=self.group_dead, pending=pending, tracked=tracked, ring=ring
        )
        clock = SimpleNamespace(monotonic=lambda: kernel.now_ns / SECOND)
        for module in (census_module, repairs, second_looks):
            self.patches.setattr(module, "time", clock)
            self.patches.setattr(module, "boot_clock_ns", lambda: kernel.now_ns)
        self.patches.setattr(census_module, "psutil", SimpleNamespace(pids=self.pids))
        self.patches.setattr(flapping, "AT_ONCE", 1)  # so that much waits
        self.judge = self.make_judge()
        self.table = self.make_table()
        self.reader = self.make_reader(kernel)
        self.census = Census(
            table=self.table,
            reader=self.reader,
            judge=self.judge,
            probes=ModelProbes(kernel) if self.ebpf else None,
            settle_time=SETTLE,
            trees=ModelTrees(kernel) if self.trees else NO_TREES,
        )
        for number in range(running):
            kernel.fork(1, "abc"[number % 3], PODS[number % 3])
        self.census.scan()
        self.turn()

    make_judge = PodsJudge
    make_table = Table
    make_reader = ModelReader

    def teardown(self) -> None:
        self.patches.undo()

    def pids(self) -> list[int]:
        listed = list(self.kernel.tasks)
        self.kernel.disturb()
        return listed

    # --- what processes do ---

    def act(self, what: str, number: int, names: str, pod: str) -> None:
        """Do one thing with one of the processes to which it can happen."""
        kernel = self.kernel
        if what == "kernel skips":
            kernel.skip()
            return
        if what == "fork":
            if len(kernel.tasks) < MOST_TASKS:
                kernel.fork(1, names, pod)
            return
        fits, does = {
            "exec": (lambda task: task.leader, lambda task: kernel.execve(task, names)),
            "thread execs": (lambda task: task.threads, lambda task: kernel.execve(task, names)),
            "end": (lambda task: not task.ended, kernel.end),
            "end and reap": (lambda task: not task.ended, kernel.end_and_reap),
            "leader ends": (lambda task: task.leader and task.threads, kernel.end_leader),
            "thread starts": (
                lambda task: not task.ended and task.threads < MOST_THREADS,
                kernel.start_thread,
            ),
            "thread ends": (lambda task: task.threads, kernel.end_thread),
            "reap": (lambda task: task.ended, kernel.reap),
            "renames itself": (
                lambda task: not task.ended,
                lambda task: kernel.rename(task, names),
            ),
            "is moved": (lambda task: not task.ended, lambda task: kernel.move(task, pod)),
        }[what]
        tasks = [task for task in kernel.tasks.values() if fits(task)]
        if tasks:
            does(tasks[number % len(tasks)])

    ACTIONS = st.tuples(
        st.sampled_from(WHATS),
        st.integers(0, 7),
        NAMES,
        st.sampled_from(PODS),
    )

    @rule(actions=st.lists(ACTIONS, min_size=1, max_size=4))
    def processes_do(self, actions: list[tuple[str, int, str, str]]) -> None:
        for action in actions:
            self.act(*action)

    @rule(seconds=st.sampled_from([0.01, 0.05, 0.1, 0.2, 0.5]))
    def time_passes(self, seconds: float) -> None:
        self.kernel.elapse(seconds)

    @rule(actions=st.lists(ACTIONS, max_size=4))
    def agent_looks(self, actions: list[tuple[str, int, str, str]]) -> None:
        self.disturbed(actions, self.turn)

    @rule(actions=st.lists(ACTIONS, max_size=4))
    def agent_reconciles(self, actions: list[tuple[str, int, str, str]]) -> None:
        self.disturbed(actions, self.census.reconcile)

    @rule(pod=st.sampled_from(PODS[1:]))
    def pod_comes_or_changes(self, pod: str) -> None:
        self.census.judge_again(self.judge.change(pod))

    def disturbed(
        self, actions: list[tuple[str, int, str, str]], step: Callable[[], object]
    ) -> None:
        """Have things happen while the agent is at work."""
        self.kernel.disturbances.extend(
            lambda action=action: self.act(*action) for action in actions
        )
        step()
        while self.kernel.disturbances:
            self.kernel.disturb()

    # --- what the agent's loop does ---

    def turn(self) -> None:
        self.census.take()
        self.census.resolve_doubts(self.kernel.now_ns / SECOND)
        self.census.looks.look(self.kernel.now_ns / SECOND)
        self.tell()

    def tell(self) -> None:
        changes = self.census.changes(self.kernel.now_ns / SECOND)
        for report in changes.announced:
            assert self.backend.get(report.entity.key) != report, "told twice"
            self.backend[report.entity.key] = report
        for gone in changes.withdrawn:
            del self.backend[gone]

    @rule()
    def all_is_quiet(self) -> None:
        """Let what is under way settle, and one reconcile go by."""
        for pause in (SETTLE, *PAUSES_S):
            self.kernel.elapse(pause)
            self.turn()
        self.census.reconcile()
        self.kernel.elapse(SETTLE + IN_HAND_S + 0.01)
        self.turn()
        for pause in (AGES[-1], LOOK_PERIOD, PAUSES[-1]):
            self.kernel.elapse(pause)
            self.turn()
        self.compare()

    def compare_budget(self) -> None:
        counted = Budget()
        for row in self.census.table:
            counted.add(row)
        kept = self.census.budget.kept
        expected = {kind: size for kind, size in counted.kept.items() if size}
        assert {kind: size for kind, size in kept.items() if size} == expected

    def compare(self) -> None:
        self.compare_budget()
        living = {task.pid: task for task in self.kernel.tasks.values() if not task.ended}
        rows = {row.process.pid: row.process for row in self.census.table}
        assert {pid: (p.key, p.image, p.command_line, p.cgroup) for pid, p in rows.items()} == {
            pid: (t.key, t.image, t.names, t.pod) for pid, t in living.items()
        }
        leaders: dict[EntityKey, tuple[ProcessKey, str]] = {}
        for process in sorted(rows.values(), key=lambda each: (each.key.start_ticks, each.pid)):
            for report in self.judge.judge(process).reports:
                leaders.setdefault(report.entity.key, (process.key, process.command_line))
        assert {
            key: (report.process.key, report.process.command_line)
            for key, report in self.backend.items()
        } == leaders
        assert self.judge.asked.keys() == {task.key for task in living.values()}, "leaked"
        assert self.kernel.tracked.keys() <= living.keys(), "followed for ever"
        assert self.census.next_doubt() is None or any(not t.leader for t in living.values())

    @invariant()
    def each_entity_has_one_leader(self) -> None:
        if not hasattr(self, "census"):
            return
        led = [
            report.entity.key
            for pid in self.census.table.pids()
            if (why := self.census.why(pid))
            for report in why.leads
        ]
        assert len(led) == len(set(led)) == self.census.table.entities

    @invariant()
    def nothing_is_repaired_where_nothing_was_lost(self) -> None:
        if not hasattr(self, "census") or not self.ebpf:
            return
        did = self.census.figures
        counts = self.kernel.counts
        lost = counts[Counter.LOST_PENDING] + counts[Counter.LOST_EVENT]
        if not lost + did.unfollowed + did.skipped:
            assert (did.repairs_new, did.repairs_gone, did.repairs_changed) == (0, 0, 0)


class CensusWithoutGroupDead(CensusMachine):
    """As kernels have it whose exit does not say whether it is the last."""

    group_dead = False
    trees = False


class CensusByScanning(CensusMachine):
    """Without eBPF."""

    ebpf = False


SETTINGS = hypothesis.settings(max_examples=200, stateful_step_count=40, deadline=None)
TestCensus = CensusMachine.TestCase
TestCensusWithoutGroupDead = CensusWithoutGroupDead.TestCase
TestCensusByScanning = CensusByScanning.TestCase
TestCensus.settings = TestCensusWithoutGroupDead.settings = TestCensusByScanning.settings = SETTINGS
