"""Stacks sampled on the real kernel: whole, named and counted."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from profiled import OFF, ON, counted, sampled, total

from bench.rig.profiled import (
    DEEP_C,
    NAP_C,
    SPLIT_C,
    built,
    built_cc,
    built_go,
    built_rust,
    cpu_seconds,
    running,
    switches,
)
from rover.binaries.reader import CodeMapping, Reader
from rover.clock import host_ticks
from rover.profiling import perf_events
from rover.profiling.layout import Walk
from rover.profiling.records import Target
from rover.profiling.sampling import PERIOD_NS, KernelSampler
from rover.profiling.usage import start_ticks

pytestmark = pytest.mark.kernel


@pytest.fixture
def sampler() -> Iterator[KernelSampler]:
    made = KernelSampler()
    yield made
    made.close()


def whole(sampler: KernelSampler, pid: int) -> float:
    walks = sampler.walks(pid)
    return walks[Walk.WHOLE] / walks.total()


def test_c_without_frame_pointers_has_whole_stacks_in_their_shares(
    tmp_path: Path, sampler: KernelSampler
):
    with running(built(tmp_path, "split", SPLIT_C)) as process:
        assert sampler.follow({process.pid: ON}) == {}
        stacks = sampled(sampler, process.pid, lambda found: total(found) >= 600)
        assert counted(stacks, "spin", "work", "main", "_start") >= 0.99 * total(stacks)
        assert whole(sampler, process.pid) >= 0.99
        for name, share in (("heavy", 0.7), ("medium", 0.2), ("light", 0.1)):
            assert counted(stacks, name) / total(stacks) == pytest.approx(share, abs=0.08)


def test_dumps_are_cpu_time_by_period(tmp_path: Path, sampler: KernelSampler):
    with running(built(tmp_path, "split", SPLIT_C), "8") as process:
        sampler.follow({process.pid: ON})
        before, known = cpu_seconds(process.pid), total(sampler.counts())
        stacks = sampled(sampler, process.pid, lambda found: total(found) >= 500)
        expected = (cpu_seconds(process.pid) - before) * 1e9 / PERIOD_NS
        # on a busy host ticks fall on a process by chance: four standard errors of that
        assert total(stacks) - known == pytest.approx(expected, rel=0.05, abs=4 * expected**0.5)


def test_waits_are_counted_and_timed(tmp_path: Path, sampler: KernelSampler):
    with running(built(tmp_path, "nap", NAP_C)) as process:
        sampler.follow({process.pid: OFF})
        began, before = time.monotonic(), switches(process.pid)
        stacks = sampled(sampler, process.pid, lambda found: total(found) >= 500)
        passed, made = time.monotonic() - began, switches(process.pid) - before
        assert total(stacks) == pytest.approx(made, rel=0.05, abs=50)
        assert counted(stacks, "nanosleep", "usleep", "nap", "main", "_start") >= 0.98 * total(
            stacks
        )
        waited = sum(stack.ns for stack in stacks) / 1e9
        assert 0.5 * passed < waited <= passed * 1.05
        assert all("schedule" in stack.kernel[0] for stack in stacks)


def test_a_wait_under_way_is_told_and_goes_on_growing(sampler: KernelSampler):
    with running(
        "/usr/bin/python3", "-c", "import time\nwhile 1:\n  time.sleep(0.01)\n  time.sleep(600)"
    ) as process:
        sampler.follow({process.pid: OFF})
        process.send_signal(signal.SIGSTOP)
        process.send_signal(signal.SIGCONT)
        first = sampled(sampler, process.pid, lambda found: total(found) > 0)
        ns = sum(stack.ns for stack in first)
        again = sampled(
            sampler, process.pid, lambda found: sum(each.ns for each in found) > ns + 200_000_000
        )
        assert {stack.user for stack in first} <= {stack.user for stack in again}


def test_debians_python_has_whole_stacks(sampler: KernelSampler):
    with running("/usr/bin/python3", "-c", "while 1: sum(range(1000))") as process:
        assert sampler.follow({process.pid: ON}) == {}
        stacks = sampled(sampler, process.pid, lambda found: total(found) >= 200)
        assert counted(stacks, "Py_RunMain", "_start") >= 0.99 * total(stacks)


def test_frame_pointers_alone_lose_the_callers(tmp_path: Path):
    sampler = KernelSampler(unwind=False)
    with running(built(tmp_path, "split", SPLIT_C)) as process:
        try:
            sampler.follow({process.pid: ON})
            stacks = sampled(sampler, process.pid, lambda found: total(found) >= 100)
            assert sampler.not_unwound
            assert counted(stacks, "main", "_start") == 0
        finally:
            sampler.close()


def test_a_hundred_frames_are_whole(tmp_path: Path, sampler: KernelSampler):
    with running(built(tmp_path, "deep", DEEP_C)) as process:
        sampler.follow({process.pid: ON})
        stacks = sampled(sampler, process.pid, lambda found: total(found) >= 150)
        deep = sum(
            stack.count
            for stack in stacks
            if sum(name == "down" for name in stack.user) == 101 and stack.user[-1] == "_start"
        )
        assert deep >= 0.9 * total(stacks)
        assert whole(sampler, process.pid) >= 0.99


def test_cpp_with_exceptions_has_whole_demangled_stacks(tmp_path: Path, sampler: KernelSampler):
    with running(built_cc(tmp_path)) as process:
        sampler.follow({process.pid: ON})
        stacks = sampled(sampler, process.pid, lambda found: total(found) >= 300)
        assert counted(stacks, "Worker::", "main", "_start") >= 0.97 * total(stacks)


@pytest.mark.skipif(not shutil.which("rustc"), reason="needs rustc")
def test_rust_has_whole_named_stacks(tmp_path: Path, sampler: KernelSampler):
    with running(built_rust(tmp_path)) as process:
        sampler.follow({process.pid: ON})
        stacks = sampled(sampler, process.pid, lambda found: total(found) >= 150)
        names = ("::leaf", "::branch", "::main", "_start")
        assert counted(stacks, *names) >= 0.99 * total(stacks)


@pytest.mark.skipif(not shutil.which("go"), reason="needs go")
@pytest.mark.parametrize("flags", ["", "-s -w"], ids=["as built", "stripped"])
def test_go_has_whole_named_stacks(tmp_path: Path, sampler: KernelSampler, flags: str):
    with running(built_go(tmp_path, flags)) as process:
        sampler.follow({process.pid: ON})
        stacks = sampled(sampler, process.pid, lambda found: total(found) >= 150)
        names = ("main.leaf", "main.branch", "main.main", "runtime.goexit")
        assert counted(stacks, *names) >= 0.95 * total(stacks)


LIBRARY = """
volatile long loaded_sink;
__attribute__((noinline)) void from_library(void) {
  for (long i = 0; i < 1000000; i++) loaded_sink += i; loaded_sink++; }
void run_library(void) { for (;;) { from_library(); loaded_sink++; } }
"""
LOADS = """
#include <dlfcn.h>
#include <signal.h>
volatile long sink;
volatile int now;
static void go_on(int number) { now = 1; }
__attribute__((noinline)) void before_load(void) { while (!now) sink++; sink++; }
int main(int argc, char **argv) {
  signal(SIGUSR1, go_on);
  before_load();
  void (*run)(void) = (void (*)(void))dlsym(dlopen(argv[1], RTLD_NOW), "run_library");
  run();
}
"""


def test_a_library_that_is_loaded_in_mid_task_is_walked_and_named(
    tmp_path: Path, sampler: KernelSampler
):
    library = built(tmp_path, "lib.so", LIBRARY, "-shared", "-fPIC")
    with running(built(tmp_path, "loads", LOADS), library) as process:
        sampler.follow({process.pid: ON})
        sampled(sampler, process.pid, lambda found: counted(found, "before_load", "main") >= 5)
        process.send_signal(signal.SIGUSR1)
        names = ("from_library", "run_library", "main", "_start")
        sampled(sampler, process.pid, lambda found: counted(found, *names) >= 50)


EXECS = """
#include <signal.h>
#include <unistd.h>
volatile long sink;
volatile int now;
static void go_on(int number) { now = 1; }
__attribute__((noinline)) void before_exec(void) { while (!now) sink++; sink++; }
int main(int argc, char **argv) {
  signal(SIGUSR1, go_on); before_exec(); execv(argv[1], argv + 1); }
"""


def test_an_exec_in_mid_task_is_followed_and_what_came_before_keeps_its_names(
    tmp_path: Path, sampler: KernelSampler
):
    after = built(tmp_path, "split", SPLIT_C)
    with running(built(tmp_path, "execs", EXECS), after) as process:
        sampler.follow({process.pid: ON})
        sampled(sampler, process.pid, lambda found: counted(found, "before_exec", "main") >= 10)
        process.send_signal(signal.SIGUSR1)
        stacks = sampled(
            sampler, process.pid, lambda found: counted(found, "heavy", "work", "main") >= 30
        )
        assert counted(stacks, "before_exec", "main") >= 10
        assert counted(stacks, "before_exec", "work") == 0


def test_a_forked_worker_is_sampled_as_a_process_of_its_own(sampler: KernelSampler):
    code = "import os,time\npid=os.fork()\nwhile pid: time.sleep(9)\nwhile 1: sum(range(1000))"
    with running("/usr/bin/python3", "-c", code) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        until = time.monotonic() + 10
        while not children.read_text() and time.monotonic() < until:
            time.sleep(0.01)
        worker = int(children.read_text())
        try:
            assert sampler.follow({process.pid: ON, worker: ON}) == {}
            stacks = sampled(sampler, worker, lambda found: total(found) >= 50)
            assert counted(stacks, "Py_RunMain", "_start") >= 0.99 * total(stacks)
        finally:
            os.kill(worker, 9)


def test_what_was_counted_of_a_process_that_ended_stays_and_keeps_its_names(
    tmp_path: Path, sampler: KernelSampler
):
    with running(built(tmp_path, "split", SPLIT_C)) as process:
        sampler.follow({process.pid: ON})
        time.sleep(1)
    stacks = sampler.counts()
    assert sampler.ended(process.pid)
    assert counted(stacks, "spin", "work", "main") >= 0.99 * total(stacks) > 20
    assert sampler.counts() == stacks


def test_counts_never_fall_and_names_stay(tmp_path: Path, sampler: KernelSampler):
    with running(built(tmp_path, "nap", NAP_C)) as process:
        sampler.follow({process.pid: frozenset(Target)})
        known: dict[object, tuple[int, int]] = {}
        for _ in range(12):
            time.sleep(0.15)
            sums: dict[object, tuple[int, int]] = {}
            for each in sampler.counts():
                key = each.target, each.kernel, each.user
                assert key not in sums
                sums[key] = each.count, each.ns
            for key, (count, ns) in known.items():
                assert sums[key][0] >= count
                assert sums[key][1] >= ns
            known = sums


def test_a_process_that_is_gone_is_refused_by_name(sampler: KernelSampler):
    with running("/bin/sleep", "60") as process:
        pass
    assert sampler.follow({process.pid: ON}) == {process.pid: "it has ended"}
    assert not sampler.is_loaded


def test_a_later_process_of_the_same_pid_is_not_sampled_in_its_stead(sampler: KernelSampler):
    with running("/bin/sleep", "60") as process:
        started = host_ticks(start_ticks(process.pid))
        refused = sampler.follow({process.pid: ON}, {process.pid: started - 1})
        assert refused == {process.pid: "it has ended, and its pid is another process's"}
        assert not sampler.is_loaded
        assert sampler.follow({process.pid: ON}, {process.pid: started}) == {}


def test_at_rest_nothing_is_loaded(sampler: KernelSampler):
    def held() -> int:
        names = [
            str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()
        ]
        return sum("bpf" in name or "perf_event" in name for name in names)

    before = held()
    assert not sampler.is_loaded
    with running("/bin/sleep", "60") as process:
        sampler.follow({process.pid: frozenset(Target)})
        assert held() > before
        sampler.follow({})
        assert held() == before
        assert sampler.follow({process.pid: ON}) == {}
    sampler.close()
    sampler.close()
    assert held() == before


NO_WAY_UP_C = """
volatile long sink;
int main(void) { for (;;) { asm volatile("mov $16, %%ebp" ::: "memory"); sink++; } }
"""


def test_stacks_that_stay_cut_cost_ever_fewer_looks(tmp_path: Path):
    class Counted(Reader):
        looks = 0

        def look(self, pid: int, ticks: int) -> tuple[int, list[CodeMapping]]:
            self.looks += 1
            return super().look(pid, ticks)

    sampler = KernelSampler(reader=(reader := Counted()))
    flags = ("-fno-asynchronous-unwind-tables", "-fno-unwind-tables")
    with running(built(tmp_path, "cut", NO_WAY_UP_C, *flags)) as process:
        try:
            sampler.follow({process.pid: ON})
            time.sleep(5)
            sampler.counts()
            assert sampler.walks(process.pid)[Walk.LOST] > 20
            assert 2 <= reader.looks <= 6  # one each half a second would be 11
        finally:
            sampler.close()


def test_cpus_that_come_are_sampled_and_those_that_go_are_let_go(
    sampler: KernelSampler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cpus = sorted(os.sched_getaffinity(0))[:2]
    if len(cpus) < 2:
        pytest.skip("this machine has one CPU")
    online = tmp_path / "online"
    monkeypatch.setattr(perf_events, "ONLINE", online)

    def events() -> int:
        links = (path for path in Path("/proc/self/fd").iterdir() if path.is_symlink())
        return sum("[perf_event]" in str(path.readlink()) for path in links)

    with running("taskset", "-c", str(cpus[1]), built(tmp_path, "split", SPLIT_C)) as process:
        online.write_text(f"{cpus[0]}\n")
        sampler.follow({process.pid: ON})
        time.sleep(0.3)
        assert total(sampler.counts()) == 0
        assert events() == 1
        online.write_text(f"{cpus[0]},{cpus[1]}\n")
        sampled(sampler, process.pid, lambda found: counted(found, "heavy", "main") > 10)
        assert events() == 2
        online.write_text(f"{cpus[0]}\n")
        sampler.counts()
        assert events() == 1


def test_very_many_switches_are_weighed():
    code = (
        "import os\na,b=os.pipe();c,d=os.pipe()\n"
        "if os.fork():\n  while 1: os.write(b,b'x'); os.read(c,1)\n"
        "while 1: os.read(a,1); os.write(d,b'x')"
    )
    sampler = KernelSampler(most_switches=1_000)
    with running("/usr/bin/python3", "-c", code) as process:
        try:
            sampler.follow({process.pid: OFF})
            sampled(sampler, process.pid, lambda found: total(found) > 1_000)
            before, known = switches(process.pid), total(sampler.counts())
            time.sleep(3)
            stacks, made = sampler.counts(), switches(process.pid) - before
            assert total(stacks) - known == pytest.approx(made, rel=0.25)
        finally:
            child = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
            sampler.close()
    for each in child.split():
        os.kill(int(each), 9)
