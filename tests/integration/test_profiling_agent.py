"""The whole agent profiles: from a task at the backend to the names of functions in its tree."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from agent_rig import BY_PID, running

from rover.backend import EmbeddedBackend
from rover.status.client import ask

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(180)]

SOURCE = r"""
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>
static volatile unsigned long sink;
static double spent(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
}
#define BURN(name, seconds) \
    __attribute__((noinline)) void name(void) { \
        double end = spent() + seconds; \
        while (spent() < end) for (int i = 0; i < 2000; i++) sink += i * sink; \
        sink++; \
    }
BURN(heavy, 0.0073)
BURN(middle, 0.0021)
BURN(light, 0.0011)
__attribute__((noinline)) void nap(void) { usleep(5000); sink++; }
__attribute__((noinline)) void work(int naps) {
    for (;;) { if (naps) nap(); else { heavy(); middle(); light(); } }
}
int main(int count, char **words) {
    int workers = count > 2 ? atoi(words[2]) : 0;
    for (int i = 0; i < workers; i++) if (fork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        work(0);
    }
    if (workers) for (;;) pause();
    work(count > 1 && words[1][0] == 'n');
}
"""
QUICK = """
profiling:
  check_interval: 500ms
  flush_interval: 1s
"""
BY_NAME = re.sub(r"-{{.Process.Pid}}", "", BY_PID)
"""All processes of a program are one entity."""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """Build a program without frame pointers, as distributions ship them."""
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler: apt-get install gcc")
    folder = tmp_path_factory.mktemp("program")
    folder.joinpath("splitter.c").write_text(SOURCE)
    built = folder / "splitter"
    subprocess.run(
        [compiler, "-O2", "-fomit-frame-pointer", "-o", built, folder / "splitter.c"], check=True
    )
    return str(built)


@pytest.fixture
def backend():
    with EmbeddedBackend() as started:
        yield started
        broken = [str(violation) for violation in started.violations]
    assert not broken


@pytest.fixture
def agent(backend, tmp_path):
    with running(backend, tmp_path, config=BY_PID + QUICK) as started:
        yield started


def figures(agent):
    """The agent's own figures of profiling, by name and labels."""
    lines = ask(agent.state, "/metrics").body.decode().splitlines()
    return {
        line.split()[0]: float(line.split()[1])
        for line in lines
        if line.startswith("rover_profiling")
    }


def held(agent):
    """What the agent has open in the kernel, by kind."""
    kinds: Counter[str] = Counter()
    for each in Path(f"/proc/{agent.pid}/fd").iterdir():
        try:
            kinds[str(each.readlink())] += 1
        except OSError:
            continue
    return {kind: kinds[f"anon_inode:{kind}"] for kind in ("bpf-prog", "[perf_event]")}


def symbols(profile):
    found = set()
    nodes = list(profile.roots)
    while nodes:
        node = nodes.pop()
        found.add(node.frame.symbol)
        nodes += node.children
    return found


def test_the_tree_has_the_names_and_the_sums_to_the_digit(
    agent, backend, program, spawn, eventually
):
    process = agent.wait_for(spawn(program, "b").pid)
    assert process.supports_profiling
    at_rest = held(agent)
    assert at_rest["[perf_event]"] == 0
    task = backend.profiling.create_task("ON_CPU", 10, process_id=process.id)
    backend.profiling.wait_for(task.id, lambda profile: profile.count > 30, 30)
    assert held(agent)["[perf_event]"] > 0
    eventually(lambda: figures(agent)["rover_profiling_tasks_running"] == 0, 30)
    profile = backend.profiling.profile(task.id)
    sent = figures(agent)['rover_profiling_samples_total{target="ON_CPU"}']
    assert profile.count == sent
    assert figures(agent)["rover_profiling_lost_samples_total"] == 0
    assert len(profile.schedules) == 1
    whole = profile.of("main")[0]
    assert whole >= 0.97 * profile.count, symbols(profile)
    shares = {name: profile.of(name)[0] / whole for name in ("heavy", "middle", "light")}
    assert 0.5 < shares["heavy"] < 0.9
    assert shares["heavy"] > shares["middle"] > shares["light"] > 0
    eventually(lambda: held(agent) == at_rest)


def test_where_it_waits_is_seen_with_the_time(agent, backend, program, spawn, eventually):
    process = agent.wait_for(spawn(program, "n").pid)
    task = backend.profiling.create_task("OFF_CPU", 6, process_id=process.id)
    eventually(lambda: figures(agent).get("rover_profiling_tasks_running") == 1, 10)
    eventually(lambda: figures(agent)["rover_profiling_tasks_running"] == 0, 30)
    profile = backend.profiling.profile(task.id)
    naps, ns = profile.of("nap")
    assert naps > 50
    assert profile.count == figures(agent)['rover_profiling_samples_total{target="OFF_CPU"}']
    assert 0.004 < ns / naps / 1e9 < 0.1
    assert {"nap", "work", "main"} <= symbols(profile)


def test_the_workers_of_a_preforking_server_are_profiled_though_their_master_sleeps(
    backend, tmp_path, program, spawn, eventually
):
    with running(backend, tmp_path, config=BY_NAME + QUICK) as agent:
        process = agent.wait_for(spawn(program, "b", "2").pid)
        task = backend.profiling.create_task("ON_CPU", 60, process_id=process.id)
        backend.profiling.wait_for(
            task.id,
            lambda profile: profile.count > 50 and profile.of("heavy")[0] > 0.4 * profile.count,
            30,
        )
        eventually(lambda: figures(agent)["rover_profiling_processes"] == 3, 10)


def test_sixteen_tasks_at_once_each_have_their_own(agent, backend, program, spawn):
    pids = [spawn(program, "n").pid for _ in range(15)] + [spawn(program, "b").pid]
    tasks = [
        backend.profiling.create_task(
            "ON_CPU" if pid == pids[-1] else "OFF_CPU", 60, process_id=agent.wait_for(pid, 20).id
        )
        for pid in pids
    ]
    for task in tasks:
        name = "heavy" if task.target == "ON_CPU" else "nap"
        backend.profiling.wait_for(task.id, lambda profile, name=name: profile.of(name)[0] > 5, 60)
    assert figures(agent)["rover_profiling_processes"] == 16


def test_what_a_policy_speaks_of_is_profiled_once_it_passes_the_threshold(
    agent, backend, program, spawn, eventually
):
    process = agent.wait_for(spawn(program, "b").pid)
    rule = {"Threshold": "20", "Period": 10, "Count": 2}
    backend.profiling.policies.set("test", {"ON_CPU": {"PROCESS_CPU": rule}})
    task = eventually(
        lambda: next(
            (one for one in backend.profiling.tasks if one.process_id == process.id), None
        ),
        30,
    )
    assert task.causes[0].startswith("ProcessCPU ")
    backend.profiling.wait_for(task.id, lambda profile: profile.of("heavy")[0] > 20, 30)


def test_sigterm_in_mid_task_sends_the_rest_and_leaves_nothing_behind(
    backend, tmp_path, program, spawn
):
    slow = QUICK.replace("flush_interval: 1s", "flush_interval: 1m")
    with running(backend, tmp_path, config=BY_PID + slow) as agent:
        process = agent.wait_for(spawn(program, "b").pid)
        task = backend.profiling.create_task("ON_CPU", 60, process_id=process.id)
        deadline = time.monotonic() + 20
        while not held(agent)["[perf_event]"] and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(2)  # for samples, which nothing shows before the flush
        assert agent.terminate() < 5
        assert backend.profiling.profile(task.id).of("heavy")[0] > 20


def test_profiling_that_is_off_is_said_with_the_first_report_and_asks_for_nothing(
    backend, tmp_path, program, spawn
):
    off = QUICK + "  active: false\n"
    with running(backend, tmp_path, config=BY_PID + off) as agent:
        process = agent.wait_for(spawn(program, "b").pid)
        assert not process.supports_profiling
        time.sleep(2)  # four questions would have come
    methods = {call.method for call in backend.state.snapshot().calls}
    assert methods == {"reportProcesses", "keepAlive"}
