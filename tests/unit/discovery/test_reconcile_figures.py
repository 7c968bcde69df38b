"""What counts as repaired was lost, or is a defect."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from kernel_model import SECOND, Kernel, ModelProbes, ModelReader
from test_census_model import PodsJudge

from rover.discovery import census as census_module
from rover.discovery import repairs as repairs_module
from rover.discovery.census import DEEP_EVERY, Census
from rover.discovery.procfs_text import KernelThread, Stat
from rover.model import Process, ProcessKey
from rover.table import Table


class WithKernelThreads(ModelReader):
    """Has threads of the kernel, by pid with their start."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self.threads: dict[int, int] = {}

    def stat(self, pid: int) -> Stat | None:
        if pid in self.threads:
            return Stat(
                name="kworker",
                state="I",
                ppid=2,
                kernel_thread=True,
                threads=1,
                start_ticks=self.threads[pid],
                image=0,
            )
        return super().stat(pid)

    def read(self, pid: int, _known: int | None = None) -> Process | KernelThread | None:
        if pid in self.threads:
            return KernelThread(ProcessKey(pid, self.threads[pid]), 2, "kworker")
        return super().read(pid)


@pytest.fixture
def kernel() -> Kernel:
    return Kernel(group_dead=True, pending=10, tracked=10, ring=10)


@pytest.fixture
def reader(kernel: Kernel) -> WithKernelThreads:
    return WithKernelThreads(kernel)


@pytest.fixture
def census(kernel: Kernel, reader: WithKernelThreads, monkeypatch: pytest.MonkeyPatch) -> Census:
    clock = SimpleNamespace(monotonic=lambda: kernel.now_ns / SECOND)
    for module in (census_module, repairs_module):
        monkeypatch.setattr(module, "time", clock)
        monkeypatch.setattr(module, "boot_clock_ns", lambda: kernel.now_ns)
    pids = SimpleNamespace(pids=lambda: [*kernel.tasks, *reader.threads])
    monkeypatch.setattr(census_module, "psutil", pids)
    return Census(
        table=Table(),
        reader=reader,
        judge=PodsJudge(),
        probes=ModelProbes(kernel),
        settle_time=0.1,
    )


def repairs(census: Census) -> tuple[int, int, int]:
    did = census.figures
    return did.repairs_new, did.repairs_gone, did.repairs_changed


def test_kernel_threads_that_come_end_and_follow_each_other_are_no_repairs(
    kernel: Kernel, reader: WithKernelThreads, census: Census
):
    reader.threads = {50: 1, 51: 1}
    census.scan()
    del reader.threads[50]
    reader.threads |= {51: 2, 52: 3}
    for _ in range(DEEP_EVERY):
        kernel.elapse(30)
        census.reconcile()
        kernel.elapse(1)
        census.resolve_doubts(kernel.now_ns / SECOND)
    assert census.kernel_threads.keys() == {51, 52}
    assert census.kernel_threads[51].key.start_ticks == 2
    assert repairs(census) == (0, 0, 0)


def test_an_end_whose_event_waits_to_be_taken_is_no_repair(kernel: Kernel, census: Census):
    kernel.fork(1, "a", "")
    kernel.elapse(1)
    census.scan()
    census.take()
    kernel.end_and_reap(kernel.tasks[2])
    assert census.reconcile() == 0
    assert census.table.get(2) is None
    assert (repairs(census), census.figures.exits) == ((0, 0, 0), 1)


def test_an_end_of_which_no_event_told_is_one(kernel: Kernel, census: Census):
    kernel.fork(1, "a", "")
    kernel.elapse(1)
    census.scan()
    census.take()
    del kernel.tasks[2]
    assert census.reconcile() == 1
    assert repairs(census) == (0, 1, 0)
