"""On the real kernel, where much comes in: the agent looks seldom and misses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from census_rig import Rig, running

from bench.rig import churn
from rover.clock import NANOSECONDS
from rover.discovery import loop
from rover.probes import pid_namespace, settle_notice
from rover.probes.settling import Taken

pytestmark = pytest.mark.kernel

Spawn = Callable[..., "subprocess.Popen[bytes]"]

RATE, LIFE = 300, 0.05
MOST_A_SECOND = 10
"""Looks in vain, of which 5 to 7 are made all the same."""
LONGEST = 100.0
"""Seconds; the churn ends with its block."""
WAYS = {
    "raw tracepoints": {"way": "raw tracepoints"},
    "tracepoints": {"way": "tracepoints"},
    "tracepoints of an older kernel": {"way": "tracepoints", "without_group_dead": True},
}
if pid_namespace.own():
    WAYS = {"raw tracepoints": WAYS["raw tracepoints"]}

FORKS = """
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int count, char **arguments)
{
	for (int left = atoi(arguments[1]); left; left--) {
		int child = fork();
		if (!child) {
			close(1);
			for (;;)
				pause();
		}
		printf("%d\\n", child);
	}
	fflush(stdout);
	close(1);
	while (wait(0) > 0)
		;
}
"""


@pytest.fixture(params=WAYS)
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with running(**WAYS[request.param]) as rig:
        yield rig


@pytest.fixture(autouse=True)
def _any_inflow_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the short processes of a test do not come in evenly."""
    monkeypatch.setattr(settle_notice, "EVEN_SHARE", 0.0)
    monkeypatch.setattr(settle_notice, "LATE_NS", 60 * NANOSECONDS)


def looks_in_vain(rig: Rig) -> list[float]:
    """Have the agent note when it looks at the kernel's maps and finds nothing."""
    take, times = rig.probes.take, []

    def noting(settle_ns: int) -> Taken:
        taken = take(settle_ns)
        if not taken.settled and not taken.ended:
            times.append(time.monotonic())
        return taken

    rig.probes.take = noting
    return times


def test_among_short_processes_the_agent_seldom_looks_in_vain_and_what_lives_is_known_once(
    rig: Rig, spawn: Spawn, eventually: Callable
):
    vain = looks_in_vain(rig)
    with churn.running(RATE, LONGEST, LIFE):
        eventually(lambda: rig.census.is_told, within=60)
        first = len(vain)
        eventually(lambda: len(vain) > first + 20, within=60)
        # 13 by its own rule
        assert 20 / (vain[first + 20] - vain[first]) < MOST_A_SECOND
        children = [spawn("/bin/sleep", "67") for _ in range(20)]
        for child in children:
            rig.seen.wait_for(child.pid)
        assert [rig.seen.times_announced(child.pid) for child in children] == [1] * 20
    figures = rig.census.figures
    assert (figures.repairs_new, figures.lost_pending, figures.lost_events) == (0, 0, 0)


def test_what_lives_is_told_by_the_kernel(
    rig: Rig, spawn: Spawn, eventually: Callable, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(loop, "TOLD_SLACK", 600.0)  # not found by a look of the agent's own
    with churn.running(RATE, LONGEST, LIFE):
        eventually(lambda: rig.census.is_told, within=60)
        for _ in range(5):
            child = spawn("/bin/sleep", "67")
            rig.seen.wait_for(child.pid)


def test_what_comes_in_last_before_they_stop_is_known_without_a_comparison(
    rig: Rig, spawn: Spawn, eventually: Callable, monkeypatch: pytest.MonkeyPatch
):
    with churn.running(RATE, LONGEST, LIFE):
        eventually(lambda: rig.census.is_told, within=60)
    monkeypatch.undo()
    last = spawn("/bin/sleep", "68")
    rig.seen.wait_for(last.pid)

    def is_no_longer() -> bool:
        spawn("/bin/sleep", "0.3").wait()  # where nothing at all comes in, nobody looks
        return not rig.census.is_told

    eventually(is_no_longer, within=60)
    later = spawn("/bin/sleep", "69")
    rig.seen.wait_for(later.pid)
    assert (rig.census.figures.repairs_new, rig.census.figures.reconciles) == (0, 0)


def test_of_more_forks_at_once_than_the_small_map_holds_each_is_known_once(
    rig: Rig, tmp_path: Path, eventually: Callable
):
    program = tmp_path / "forks"
    subprocess.run(["cc", "-x", "c", "-", "-o", program], input=FORKS, text=True, check=True)
    with churn.running(RATE, LONGEST, LIFE):
        eventually(lambda: rig.census.is_told, within=60)
        with subprocess.Popen(
            [program, "2048"], stdout=subprocess.PIPE, start_new_session=True
        ) as server:
            try:
                pids = [int(line) for line in server.stdout]
                for pid in pids:
                    rig.seen.wait_for(pid, within=30)
                assert {rig.seen.times_announced(pid) for pid in pids} == {1}
                assert rig.census.figures.lost_pending == 0
            finally:
                os.killpg(server.pid, signal.SIGKILL)
        for pid in pids:
            rig.seen.wait_for(pid, gone=True, within=30)
    assert rig.census.figures.repairs_new == 0
