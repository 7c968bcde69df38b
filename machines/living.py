"""Rows on processes: how they start and end, and that each is told exactly once."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import leaders
from census_rig import running

from machines.attaching import PATIENCE, eventually

AROUND_THE_START: Final = 300
NEST: Final = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
AROUND_THE_START_INSIDE: Final = (
    "from machines.living import around_the_start\nprint(around_the_start())"
)
LEADERS: Final = 50
WAYS: Final = ("raw tracepoints", "tracepoints")
ROOT: Final = Path(__file__).parents[1]
SUITE: Final = ("tests/integration/test_census.py", "tests/integration/test_probes_loading.py")
SHOWN: Final = 60_000
"""Characters of what it says, on the console."""
NOT_HERE: Final = ("distribution",)
"""Of the suite: what takes kernel headers, which a machine has not."""
LANDLOCK_SINCE: Final = (5, 13)
OF_LANDLOCK: Final = "symbols_are_not_read"
"""Of the suite: what takes Landlock, which came with that kernel (landlock(7))."""

VFORKS: Final = r"""
#include <stdio.h>
#include <unistd.h>
int main(void) {
    pid_t child = vfork();
    if (child == 0) {
        usleep(500000); /* longer than the settle time */
        execl("/bin/sleep", "vforked", "3000", (char *)0);
        _exit(1);
    }
    printf("%d\n", child);
    fflush(stdout);
    pause();
}
"""


def around_the_start() -> str:
    """Processes that start before, while and after the agent does are told once; so their ends."""
    children: list[subprocess.Popen[bytes]] = []

    def begin() -> None:
        for _ in range(AROUND_THE_START):
            children.append(subprocess.Popen(["/bin/sleep", "1000"]))
            time.sleep(0.01)

    starting = threading.Thread(target=begin)
    starting.start()
    eventually(lambda: len(children) > AROUND_THE_START // 10, "the first processes")
    with running(timeout=PATIENCE) as rig:
        starting.join()
        for child in children:
            rig.seen.wait_for(child.pid, within=PATIENCE)
        told = [rig.seen.times_announced(child.pid) for child in children]
        for child in children:
            child.kill()
            child.wait()
        for child in children:
            rig.seen.wait_for(child.pid, gone=True, within=PATIENCE)
        assert told == [1] * AROUND_THE_START, f"{told.count(0)} missing, {sum(told)} told"
        assert rig.census.figures.repairs_new == 0, "found by a reconcile alone"
    return f"ok, {AROUND_THE_START} of {AROUND_THE_START}"


def in_a_pid_namespace() -> str:
    """The same holds where the agent's pid namespace is not the host's, one and two deep."""
    told = []
    for levels in (1, 2):
        run = subprocess.run(
            [*NEST * levels, sys.executable, "-c", AROUND_THE_START_INSIDE],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert run.returncode == 0, f"{levels} deep: {run.stderr[-300:]}"
        told.append(run.stdout.strip().removeprefix("ok, "))
    return f"ok, one and two deep {' and '.join(told)}"


def vfork() -> str:
    """A child of vfork that waits before its exec, its parent stopped meanwhile: both are told."""
    with tempfile.TemporaryDirectory() as folder, running(timeout=PATIENCE) as rig:
        source, program = Path(folder, "vforks.c"), Path(folder, "vforks")
        source.write_text(VFORKS)
        subprocess.run(["gcc", "-o", program, source], check=True)
        parent = subprocess.Popen([program], stdout=subprocess.PIPE, text=True)
        assert parent.stdout
        child = int(parent.stdout.readline())  # said once the child has called exec
        eventually(
            lambda: (found := rig.seen.process(child)) and found.command_line == "vforked 3000",
            "the child by the name of its exec",
        )
        rig.seen.wait_for(parent.pid, within=PATIENCE)
        assert rig.seen.times_announced(parent.pid) == 1
        os.kill(child, signal.SIGKILL)
        parent.kill()
        parent.wait()
        for pid in (child, parent.pid):
            rig.seen.wait_for(pid, gone=True, within=PATIENCE)
    return ""


def leaders_end() -> str:
    """Processes whose first thread ends after 0 to 150 ms: each is told once, by both ways."""
    return "ok, " + ", ".join(f"{_leaders_end(way)} by {way}" for way in WAYS)


def _leaders_end(way: str) -> str:
    with tempfile.TemporaryDirectory() as folder, running(timeout=PATIENCE, way=way) as rig:
        program = str(leaders.build(Path(folder)))
        children = [subprocess.Popen([program, str(3 * number)]) for number in range(LEADERS)]
        for child in children:
            told_as = partial(rig.seen.times_announced, child.pid, program)
            eventually(told_as, f"process {child.pid}, by {way}")
        for child in children:
            child.kill()
            child.wait()
        for child in children:
            rig.seen.wait_for(child.pid, gone=True, within=PATIENCE)
        told = [rig.seen.times_announced(child.pid, program) for child in children]
        repaired = rig.census.figures.repairs_new
    assert told == [1] * LEADERS, f"by {way}: told {told}"
    assert not repaired, f"by {way}: {repaired} found by a reconcile alone"
    return f"{LEADERS} of {LEADERS}"


def suite() -> str:
    """Run the suite's own kernel tests: forks, execs, threads, leaders, full maps, fallbacks."""
    release = tuple(map(int, os.uname().release.split("-")[0].split(".")[:2]))
    left_out = NOT_HERE if release >= LANDLOCK_SINCE else (*NOT_HERE, OF_LANDLOCK)
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=600"),
            "--tb=short",
            *("-k", " and ".join(f"not {word}" for word in left_out), *SUITE),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    print(run.stdout[-SHOWN:], flush=True)
    tail = run.stdout.strip().splitlines()[-1] if run.stdout.strip() else run.stderr[-300:]
    failed = re.findall(r"^FAILED \S+?::(.+?)(?: - .*)?$", run.stdout, re.MULTILINE)
    counted = re.sub(r"[= ]*(.*?) in .*", r"\1", tail)
    if run.returncode:
        raise AssertionError(f"{counted}: {', '.join(failed)}")
    return f"ok, {counted}"


ROWS: Final[dict[str, Callable[[], str]]] = {
    "300 processes around the start": around_the_start,
    "vfork": vfork,
    "leaders that end first": leaders_end,
    "the suite's kernel tests": suite,
    "in a pid namespace": in_a_pid_namespace,
}
