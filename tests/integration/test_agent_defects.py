"""The whole agent with a defect in it: what it costs, and how it is told."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent_rig import BY_PID, ROVER, row_of, running

from rover.backend import EmbeddedBackend
from rover.guard import TOLD_EACH

pytestmark = pytest.mark.kernel

Spawn = Callable[..., "subprocess.Popen[bytes]"]

POISON = "76.5"
"""Whoever sleeps for so long brings out the defect."""
IN_THE_JUDGE = f"""
from rover.naming.host.judge import HostJudge
judge = HostJudge.judge
def poisoned(self, process):
    if "{POISON}" in process.command_line:
        raise RecursionError("brought out on purpose")
    return judge(self, process)
HostJudge.judge = poisoned
"""
IN_EACH_REFRESH = """
from rover.naming.host.judge import HostJudge
def refresh(self, now):
    raise RecursionError("brought out on purpose")
HostJudge.refresh = refresh
"""
IN_THE_MESSAGE = f"""
from rover.reporter import messages
announcement = messages.announcement
def poisoned(report, *rest, **more):
    if "{POISON}" in report.process.command_line:
        raise RecursionError("brought out on purpose")
    return announcement(report, *rest, **more)
messages.announcement = poisoned
"""
SLOW_SCAN = """
import time
from rover.discovery.census import Census
scan = Census.scan
def slow(self):
    time.sleep(2)
    scan(self)
Census.scan = slow
"""


@pytest.fixture
def backend() -> Iterator[EmbeddedBackend]:
    with EmbeddedBackend() as started:
        yield started


@pytest.fixture
def defect(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Give the environment in which a program of ours has a defect."""

    def put(code: str) -> dict[str, str]:
        folder = tmp_path / "defect"
        folder.mkdir()
        main = "if sys.argv[0].endswith('rover') and 'PYTHONMALLOC' in os.environ:\n"
        indented = "".join(f"    {line}\n" for line in code.splitlines())
        Path(folder, "sitecustomize.py").write_text(
            f"import os, sys\nsys.argv = getattr(sys, 'argv', sys.orig_argv[1:])\n{main}{indented}"
        )
        return {"PYTHONPATH": str(folder), "PYTHONMALLOC": "malloc"}

    return put


def test_a_process_that_brings_out_a_defect_costs_no_other_and_is_told_in_measure(
    backend: EmbeddedBackend, tmp_path: Path, spawn: Spawn, defect
):
    early = spawn("/bin/sleep", POISON)
    environment = defect(IN_THE_JUDGE)
    with running(backend, tmp_path, config=BY_PID, environment=environment) as agent:
        for _ in range(TOLD_EACH + 3):
            spawn("/bin/sleep", POISON)
        agent.wait_for(spawn("/bin/sleep", "77").pid)
        assert row_of(backend.state.snapshot(), early.pid) is None
    log = agent.log.read_text()
    told = re.findall(r"ERROR rover.defects defect where=judge pid=(\d+): RecursionError", log)
    summed = re.findall(r"where=judge .* of pid ([\d, ]+) too", log)
    assert len({*told, *", ".join(summed).split(", ")} - {""}) == TOLD_EACH
    assert log.count("Traceback (most recent call last)") == 1


def test_an_entity_whose_message_cannot_be_made_is_set_aside(
    backend: EmbeddedBackend, tmp_path: Path, spawn: Spawn, defect
):
    bad = spawn("/bin/sleep", POISON)
    environment = defect(IN_THE_MESSAGE)
    with running(backend, tmp_path, config=BY_PID, environment=environment) as agent:
        agent.wait_for(spawn("/bin/sleep", "77").pid)
        assert row_of(backend.state.snapshot(), bad.pid) is None
        log = agent.log.read_text()
    assert f"defect where=message pid={bad.pid}: RecursionError" in log
    assert "entity set aside" in log


def test_a_look_that_always_fails_stops_nothing_else(
    backend: EmbeddedBackend, tmp_path: Path, spawn: Spawn, defect, eventually
):
    odd = tmp_path / "odd"
    shutil.copy("/bin/sleep", odd)
    with running(backend, tmp_path, environment=defect(IN_EACH_REFRESH)) as agent:
        agent.wait_for(spawn(str(odd), "77").pid, within=20)
        eventually(lambda: "defect where=refresh: RecursionError" in agent.log.read_text())
        assert agent.terminate() < 5
        assert agent.process.returncode == 0


def test_ps_tells_a_defect_in_one_line(tmp_path: Path, spawn: Spawn, defect):
    process = spawn("/bin/sleep", POISON)
    environment = {**os.environ, **defect(IN_THE_JUDGE)}
    command = [ROVER, "ps", "--state-dir", str(tmp_path), str(process.pid)]
    done = subprocess.run(command, env=environment, capture_output=True, check=True, timeout=60)
    assert b"not reported: the agent itself fails on it: RecursionError" in done.stdout
    errors = done.stderr.decode()
    assert sum("defect where=judge" in line for line in errors.splitlines()) == 1
    assert "Traceback" not in errors


def test_beside_the_live_view_a_defect_is_one_line(tmp_path: Path, spawn: Spawn, defect):
    spawn("/bin/sleep", POISON)
    process = subprocess.Popen(
        [ROVER, "start", "--embedded", "--state-dir", str(tmp_path)],
        env={**os.environ, **defect(IN_THE_JUDGE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        seen = []
        for line in process.stdout:
            seen.append(line)
            if line.startswith("+ "):
                break
        process.terminate()
        seen += process.communicate(timeout=10)[0].splitlines()
    finally:
        process.kill()
        process.wait()
    said = "\n".join(seen)
    assert said.count("defect where=judge") == 1
    assert "Traceback" not in said
    assert "  File " not in said


def test_the_backend_is_not_said_to_know_all_before_the_first_scan(
    backend: EmbeddedBackend, tmp_path: Path, defect
):
    with running(backend, tmp_path, environment=defect(SLOW_SCAN)) as agent:
        backend.state.wait_for(lambda held: held.processes)
        backend.state.wait_for(lambda held: all(row.pings for row in held.processes))
        lines = agent.log.read_text().splitlines()
    beating = [line for line in lines if "state=beating" in line]
    assert "the first scan is under way" in beating[0]
    assert "knows all" not in beating[0]
    assert all("knows all" in line for line in beating[1:])
