"""Rows on processes: how they start and end, and that each is told exactly once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from census_rig import running

from machines.attaching import PATIENCE, eventually

AROUND_THE_START: Final = 300
NEST: Final = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
AROUND_THE_START_INSIDE: Final = (
    "from machines.living import around_the_start\nprint(around_the_start())"
)
STORM_SECONDS: Final = 20.0
ROOT: Final = Path(__file__).parents[1]
SUITE: Final = ("tests/integration/test_census.py", "tests/integration/test_probes_loading.py")
NOT_HERE: Final = ("distribution",)
"""Of the suite: what takes kernel headers, which a machine has not."""


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


def storm() -> str:
    """Short processes on every processor: nothing is lost, and the kernel skips no program."""
    source = (
        f"import os,time\nend=time.monotonic()+{STORM_SECONDS}\nn=0\n"
        "while time.monotonic()<end:\n"
        " os.waitpid(os.posix_spawn('/bin/true',['true'],{}),0); n+=1\nprint(n)"
    )
    with running(timeout=PATIENCE) as rig:
        makers = [
            subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
            for _ in range(4)
        ]
        lives = sum(int(maker.communicate()[0]) for maker in makers)
        figures = rig.census.figures
        lost = (figures.lost_pending, figures.lost_events, figures.skipped, figures.unfollowed)
        skipped = rig.discovery.inspect(lambda _: rig.probes.skipped(), PATIENCE)
    assert not any(lost), f"lost (pending, ring, skipped, tracked): {lost}"
    assert not skipped, f"the kernel skipped {skipped}"
    return f"ok, {lives / STORM_SECONDS:.0f} a second, none lost, none skipped"


def suite() -> str:
    """Run the suite's own kernel tests: forks, execs, threads, leaders, full maps, fallbacks."""
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=600"),
            *("-k", " and ".join(f"not {word}" for word in NOT_HERE), *SUITE),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    print(run.stdout[-6000:], flush=True)
    tail = run.stdout.strip().splitlines()[-1] if run.stdout.strip() else run.stderr[-300:]
    failed = re.findall(r"^FAILED \S+?::(\S+)", run.stdout, re.MULTILINE)
    counted = re.sub(r"[= ]*(.*?) in .*", r"\1", tail)
    if run.returncode:
        raise AssertionError(f"{counted}: {', '.join(failed)}")
    return f"ok, {counted}"


ROWS: Final[dict[str, Callable[[], str]]] = {
    "300 processes around the start": around_the_start,
    "a storm of short processes": storm,
    "the suite's kernel tests": suite,
    "in a pid namespace": in_a_pid_namespace,
}
