"""Stacks sampled on the real kernel: whole, named and counted."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from profiled import OFF, ON, counted, sampled, total

from bench.rig.profiled import (
    DEEP_C,
    GO_AND_C,
    GO_NAPS,
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
from rover.profiling.records import StackCount, Target
from rover.profiling.sampling import PERIOD_NS, KernelSampler
from rover.profiling.usage import start_ticks

pytestmark = pytest.mark.kernel

PERF_EVENT_IOC_DISABLE = 0x2401


@pytest.fixture
def sampler() -> Iterator[KernelSampler]:
    made = KernelSampler()
    yield made
    made.close()


def whole(sampler: KernelSampler, pid: int) -> float:
    walks = sampler.walks(pid)
    return walks[Walk.WHOLE] / walks.total()


def of_gos_scheduler(stacks: Sequence[StackCount]) -> int:
    """Return how many are on a thread's own stack, where Go's scheduler runs: more if busy."""
    return counted(stacks, "runtime.mcall") + counted(stacks, "runtime.mstart")


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


def test_code_that_its_compiler_does_not_describe_has_whole_stacks(
    tmp_path: Path, sampler: KernelSampler
):
    flags = ("-fno-asynchronous-unwind-tables", "-fno-unwind-tables", "-static")
    with running(built(tmp_path, "split", SPLIT_C, *flags)) as process:
        sampler.follow({process.pid: ON})
        stacks = sampled(sampler, process.pid, lambda found: total(found) >= 150)
        assert counted(stacks, "spin", "work", "main", "_start") >= 0.99 * total(stacks)


BY_REGISTER_C = """
void by_register(long turns);
void by_pointer(long turns);
asm(
  ".text\\n.type by_register,@function\\nby_register:\\n.cfi_startproc\\n"
  "mov %rsp,%r11\\n.cfi_def_cfa_register %r11\\n"
  "push %rbp\\n.cfi_offset %rbp,-16\\n"
  "sub $4096,%rsp\\nand $-64,%rsp\\nmov $7,%ebp\\n"
  "1: dec %rdi\\njnz 1b\\n"
  "mov -8(%r11),%rbp\\nmov %r11,%rsp\\n.cfi_def_cfa_register %rsp\\n"
  "ret\\n.cfi_endproc\\n.size by_register,.-by_register\\n"
  ".type by_pointer,@function\\nby_pointer:\\n.cfi_startproc\\n"
  "mov %rsp,%rax\\n.cfi_def_cfa_register %rax\\n"
  "sub $4096,%rsp\\nand $-64,%rsp\\nmov %rax,16(%rsp)\\n"
  /* the CFA is what lies at rsp + 16, and 8 */
  ".cfi_escape 0x0f,0x05,0x77,0x10,0x06,0x23,0x08\\n"
  "mov $7,%eax\\n"
  "1: dec %rdi\\njnz 1b\\n"
  "mov 16(%rsp),%rsp\\n.cfi_def_cfa %rsp,8\\n"
  "ret\\n.cfi_endproc\\n.size by_pointer,.-by_pointer\\n"
);
volatile long sink;
__attribute__((noinline)) void one(void) { by_register(2000000); sink++; }
__attribute__((noinline)) void other(void) { by_pointer(2000000); sink++; }
int main(void) { for (;;) { one(); other(); } }
"""


def test_assembly_that_keeps_its_callers_stack_elsewhere_has_whole_stacks(
    tmp_path: Path, sampler: KernelSampler
):
    with running(built(tmp_path, "assembly", BY_REGISTER_C)) as process:
        sampler.follow({process.pid: ON})
        stacks = sampled(sampler, process.pid, lambda found: total(found) >= 150)
        met = counted(stacks, "by_register", "one", "main", "_start")
        behind = counted(stacks, "by_pointer", "other", "main", "_start")
        assert met + behind >= 0.99 * total(stacks)
        assert min(met, behind) > 20


STARTS_C = """
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
extern char **environ;
volatile long sink;
static char *words[] = {"sleep", "0.02", 0};
__attribute__((noinline)) void by_vfork(void) {
  pid_t pid = vfork();
  if (!pid) { execv("/bin/sleep", words); _exit(1); }
  waitpid(pid, 0, 0); sink++;
}
__attribute__((noinline)) void by_spawn(void) {
  pid_t pid;
  posix_spawn(&pid, "/bin/sleep", 0, 0, words, environ);
  waitpid(pid, 0, 0); sink++;
}
int main(void) { for (;;) { by_vfork(); by_spawn(); } }
"""


def test_a_wait_for_the_exec_of_a_child_has_its_caller(tmp_path: Path, sampler: KernelSampler):
    with running(built(tmp_path, "starts", STARTS_C)) as process:
        sampler.follow({process.pid: OFF})
        stacks = sampled(
            sampler,
            process.pid,
            lambda found: (
                min(
                    counted(found, "fork", "by_vfork", "main", "_start"),
                    counted(found, "clone", "spawn", "by_spawn", "main", "_start"),
                )
                >= 10
            ),
        )
        assert counted(stacks, "main", "_start") >= 0.95 * total(stacks)


MAIN_ENDS_C = """
#include <pthread.h>
volatile long sink;
__attribute__((noinline)) void *work(void *none) { for (;;) sink++; return none; }
int main(void) {
  pthread_t thread; pthread_create(&thread, 0, work, 0); pthread_exit(0);
}
"""


def test_a_process_whose_first_thread_has_ended_is_sampled(tmp_path: Path, sampler: KernelSampler):
    with running(built(tmp_path, "headless", MAIN_ENDS_C)) as process:
        until = time.monotonic() + 10
        while ") Z " not in Path(f"/proc/{process.pid}/stat").read_text():
            assert time.monotonic() < until
            time.sleep(0.01)
        assert sampler.follow({process.pid: ON}) == {}
        stacks = sampled(sampler, process.pid, lambda found: total(found) >= 50)
        assert counted(stacks, "work", "clone") >= 0.99 * total(stacks)


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
        assert counted(stacks, *names) >= 0.95 * counted(stacks, "main.") > 75
        assert counted(stacks, *names) + of_gos_scheduler(stacks) >= 0.95 * total(stacks)
        assert whole(sampler, process.pid) >= 0.95


@pytest.mark.skipif(not shutil.which("go"), reason="needs go")
@pytest.mark.parametrize("mode", ["exe", "pie"])
def test_go_with_c_in_it_has_whole_named_stacks(tmp_path: Path, sampler: KernelSampler, mode: str):
    with running(built_go(tmp_path, "-s -w", GO_AND_C, mode)) as process:
        sampler.follow({process.pid: ON})
        stacks = sampled(sampler, process.pid, lambda found: total(found) >= 150)
        of_go = counted(stacks, "main.leaf", "main.main", "runtime.goexit")
        of_c = counted(stacks, "main.calls", "main.main", "runtime.goexit")
        assert of_go + of_c >= 0.95 * counted(stacks, "main.")
        assert of_go + of_c + of_gos_scheduler(stacks) >= 0.95 * total(stacks)
        assert min(of_go, of_c) >= 0.2 * total(stacks)
        assert whole(sampler, process.pid) >= 0.95


@pytest.mark.skipif(not shutil.which("go"), reason="needs go")
def test_go_that_waits_has_whole_stacks(tmp_path: Path, sampler: KernelSampler):
    with running(built_go(tmp_path, source=GO_NAPS)) as process:
        sampler.follow({process.pid: OFF})
        stacks = sampled(sampler, process.pid, lambda found: total(found) >= 300)
        assert counted(stacks, "runtime.findRunnable", "runtime.mcall") > 0
        assert whole(sampler, process.pid) >= 0.95


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
        sampled(sampler, process.pid, lambda found: total(found) >= 30)
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
#include <string.h>
#include <sys/mman.h>
int main(void) {
  /* mov $16,%ebp; jmp . */
  int allowed = PROT_READ | PROT_WRITE | PROT_EXEC;
  void *code = mmap(0, 4096, allowed, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memcpy(code, "\\xbd\\x10\\x00\\x00\\x00\\xeb\\xfe", 7);
  ((void (*)(void))code)();
}
"""


def test_stacks_that_stay_cut_cost_ever_fewer_looks(tmp_path: Path):
    class Counted(Reader):
        looks = 0

        def look(self, pid: int, ticks: int) -> tuple[int, list[CodeMapping]]:
            self.looks += 1
            return super().look(pid, ticks)

    sampler = KernelSampler(reader=(reader := Counted()))
    with running(built(tmp_path, "cut", NO_WAY_UP_C)) as process:
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


def test_a_cpu_whose_event_has_stopped_is_sampled_anew(sampler: KernelSampler, tmp_path: Path):
    def events() -> list[int]:
        found = []
        for path in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                if "[perf_event]" in str(path.readlink()):
                    found.append(int(path.name))
        return found

    with running(built(tmp_path, "split", SPLIT_C)) as process:
        sampler.follow({process.pid: ON})
        sampled(sampler, process.pid, lambda found: total(found) > 10)
        stopped = events()
        for event in stopped:  # as when its CPU goes away and comes back
            fcntl.ioctl(event, PERF_EVENT_IOC_DISABLE, 0)
        sampler.counts()
        known = total(sampler.counts())
        sampled(sampler, process.pid, lambda found: total(found) > known + 20)
        assert len(events()) == len(stopped)


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
