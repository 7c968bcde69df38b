"""The agent in a pid namespace of its own, as on a node that is itself a container."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent_rig import BY_PID, RunningAgent, running
from kernel import IN_NAMESPACE
from namespace_rig import ENTER, NEST, child_of, descendant, numbers_of

from rover.backend import EmbeddedBackend

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]
AROUND_THE_START = """
from machines.living import around_the_start
print(around_the_start())
"""

COUNTED = """
import json, sys
from census_rig import running
from rover.probes.layout import Counter
with running() as rig:
    for _ in sys.stdin:
        counts = rig.discovery.inspect(lambda _: rig.probes.counters())
        print(json.dumps(counts), flush=True)
"""
"""Says, for each line that it reads, what the kernel has counted."""

Spawn = Callable[..., "subprocess.Popen[bytes]"]


ENVIRONMENT = {
    **os.environ,
    IN_NAMESPACE: "1",
    "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests", ROOT / "tests" / "integration"))),
}


def run_inside(levels: int, *command: str) -> str:
    done = subprocess.run(
        [*NEST * levels, sys.executable, *command],
        capture_output=True, text=True, check=False, cwd=ROOT, env=ENVIRONMENT, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def suite_inside(levels: int, *tests: str) -> None:
    """Run tests of this suite there; none of them may be skipped."""
    said = run_inside(levels, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)
    assert " passed" in said
    assert "skipped" not in said


@pytest.mark.timeout(300)
def test_all_that_is_claimed_of_processes_holds_two_pid_namespaces_deep():
    """Execs, forks without exec, exits, leaders that end first, threads that exec, full maps."""
    suite_inside(2, "tests/integration/test_census.py")


@pytest.mark.timeout(300)
def test_processes_around_the_start_are_told_once():
    assert run_inside(1, "-c", AROUND_THE_START) == "ok, 300 of 300\n"


def test_processes_outside_take_no_room_and_are_not_counted():
    agent = subprocess.Popen(
        [*NEST, sys.executable, "-c", COUNTED],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=ENVIRONMENT,
    )  # fmt: skip
    with agent:
        assert agent.stdin
        assert agent.stdout

        def counts() -> dict[str, int]:
            agent.stdin.write("\n")
            agent.stdin.flush()
            return json.loads(agent.stdout.readline())

        before = counts()
        for _ in range(200):
            subprocess.run(["/bin/true"], check=True)
        assert counts() == before
        agent.stdin.close()
    assert agent.returncode == 0


@pytest.fixture
def backend() -> Iterator[EmbeddedBackend]:
    with EmbeddedBackend() as server:
        yield server


@pytest.fixture
def nested(backend: EmbeddedBackend, tmp_path: Path) -> Iterator[RunningAgent]:
    """An agent that is the first process of its pid namespace."""
    with running(backend, tmp_path, "--require-ebpf", config=BY_PID, wrap=NEST) as agent:
        yield agent
        # unshare itself leaves SIGTERM to its child
        os.kill(child_of(agent.pid), signal.SIGTERM)
        agent.process.wait(10)


@pytest.mark.parametrize("levels", [0, 1, 2])
def test_processes_in_it_and_below_are_known_by_the_agents_own_numbers(
    nested: RunningAgent, spawn: Spawn, eventually: Callable, levels: int
):
    eventually(lambda: "started version" in nested.log.read_text(), 20)
    host = spawn(*ENTER, str(child_of(nested.pid)), *NEST * levels, "/bin/sleep", f"{700 + levels}")
    sleeper = eventually(lambda: descendant(host.pid, "sleep"))
    numbers = numbers_of(sleeper)
    assert len(numbers) == 2 + levels
    row = nested.wait_for(numbers[1])
    assert row.properties["command_line"] == f"/bin/sleep {700 + levels}"
    os.kill(sleeper, signal.SIGKILL)
    eventually(lambda: numbers[1] not in known(nested))


def known(agent: RunningAgent) -> set[int]:
    return {each["pid"] for each in agent.ask("/processes")["processes"]}


def test_processes_outside_are_never_seen(nested: RunningAgent, spawn: Spawn, eventually: Callable):
    eventually(lambda: "started version" in nested.log.read_text(), 20)
    outside = [spawn("/bin/sleep", "710") for _ in range(20)]
    inside = spawn(*ENTER, str(child_of(nested.pid)), "/bin/sleep", "711")
    nested.wait_for(numbers_of(eventually(lambda: descendant(inside.pid, "sleep")))[1])
    assert all(each.poll() is None for each in outside)
    held = nested.backend.state.snapshot().processes
    lines = {row.properties["command_line"] for row in held}
    assert "/bin/sleep 711" in lines
    assert "/bin/sleep 710" not in lines


def test_that_the_namespace_is_not_the_hosts_is_told_everywhere(
    nested: RunningAgent, eventually: Callable
):
    eventually(lambda: "started version" in nested.log.read_text(), 20)
    assert "ebpf=raw_tracepoints" in nested.log.read_text()
    assert nested.log.read_text().count("so it sees no process outside of it: right where") == 1
    assert "sees no process outside" in nested.ask("/readyz")["ebpf"]
    assert "sees no process outside" in nested.ask("/status")["ebpf"]["detail"]
