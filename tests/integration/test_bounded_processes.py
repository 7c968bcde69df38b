"""What other users' processes may cost the real agent, and what of them leaves it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent_rig import BY_PID, ROVER, RunningAgent, running
from census_rig import NameByPid

from rover.backend import EmbeddedBackend, Snapshot
from rover.discovery.bounds import ARGUMENTS_KEPT
from rover.discovery.budget import SHORT, SHORT_ARGUMENTS, Budget
from rover.discovery.census import Census
from rover.discovery.procfs import ProcReader
from rover.model import Process
from rover.redaction import CommandLineTold, Redaction
from rover.table import Table

pytestmark = pytest.mark.kernel

Spawn = Callable[..., "subprocess.Popen[bytes]"]

WIDE = "\N{GRINNING FACE}"

CROWD = """
import os, signal, sys
amount, arguments = int(sys.argv[1]), sys.argv[2:]
reading, writing = os.pipe()
os.dup2(reading, 0)
os.setgid(65534); os.setuid(65534)
for number in range(amount):
    if os.fork() == 0:
        os.execv("/bin/cat", ["cat", "-", str(number), *arguments])
print("ready", flush=True)
signal.pause()
"""


@contextlib.contextmanager
def crowd(amount: int, *arguments: str) -> Iterator[None]:
    """Run so many processes of another user with these arguments."""
    leader = subprocess.Popen(
        [sys.executable, "-c", CROWD, str(amount), *arguments],
        stdout=subprocess.PIPE,
        process_group=0,
    )
    try:
        assert leader.stdout.readline() == b"ready\n"
        yield
    finally:
        os.killpg(leader.pid, 9)
        leader.wait()
        leader.stdout.close()


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def backend() -> Iterator[EmbeddedBackend]:
    with EmbeddedBackend() as server:
        yield server


@pytest.fixture
def agent(backend: EmbeddedBackend, tmp_path: Path) -> Iterator[RunningAgent]:
    with running(backend, tmp_path, config=BY_PID) as agent:
        agent.wait_for(os.getpid(), 60)
        yield agent


def read(pid: int, redaction: Redaction | None = None) -> Process:
    process = ProcReader(redaction=redaction).read(pid)
    assert isinstance(process, Process)
    return process


@pytest.mark.timeout(240)
def test_wide_arguments_of_another_user_cost_a_few_kib_a_process(
    agent: RunningAgent,
):
    def wide(held: Snapshot) -> list[str]:
        lines = [row.properties.get("command_line", "") for row in held.processes]
        return [line for line in lines if WIDE in line]

    before = resident(agent.pid)
    with crowd(400, WIDE * 15_000, WIDE * 15_000):
        lines = wide(agent.backend.state.wait_for(lambda held: len(wide(held)) >= 400, 120))
        grown = resident(agent.pid) - before
    assert all(len(line.encode()) <= ARGUMENTS_KEPT and line.count("…") == 1 for line in lines)
    # arguments, record, entity, report and the answer's id; 130 KB each they were
    assert grown < 400 * 24 * 1024


def test_the_end_of_a_command_line_of_megabytes_is_kept(spawn: Spawn):
    long = [f"{number:0100000d}" for number in range(15)]
    child = spawn("/bin/sh", "-c", "sleep 60; :", *long, "com.example.Main")
    process = read(child.pid)
    assert len(process.arguments) <= ARGUMENTS_KEPT
    assert process.command_line.startswith("/bin/sh -c sleep 60; : 0000")
    assert process.command_line.endswith("00014 com.example.Main")
    assert process.told.endswith("com.example.Main")


@pytest.mark.parametrize("filler", [0, 1_000, 4_000, 4_100, 6_000, 8_100, 8_300, 50_000, 120_000])
@pytest.mark.parametrize("pieces", [1, 40])
def test_a_secret_is_masked_wherever_a_long_command_line_is_cut(
    spawn: Spawn, filler: int, pieces: int
):
    hidden = "hunter2" * 1_500
    around = ["x" * (filler // pieces)] * pieces
    child = spawn("/bin/sh", "-c", "sleep 60; :", *around, "--password", hidden, *around)
    process = read(child.pid)
    assert "hunter" not in process.told
    assert process.told.startswith("/bin/sh -c sleep 60; :")
    assert len(process.told.encode()) <= ARGUMENTS_KEPT


def test_a_working_directory_that_is_too_deep_to_be_named_hides_no_process(
    spawn: Spawn, tmp_path: Path
):
    deep = "import os, signal\nfor _ in range(30): os.mkdir('d' * 250); os.chdir('d' * 250)\n"
    child = spawn(
        sys.executable,
        "-c",
        deep + "print(1, flush=True)\nsignal.pause()",
        cwd=tmp_path,
        stdout=subprocess.PIPE,
    )
    child.stdout.readline()
    process = read(child.pid)
    assert process.cwd == ""
    assert "signal.pause" in process.command_line


def test_beyond_the_budget_everything_is_known_and_says_that_it_was_cut(spawn: Spawn):
    children = [spawn("/bin/sh", "-c", "sleep 60; :", WIDE * 2_000) for _ in range(8)]
    census = Census(
        table=Table(),
        reader=ProcReader(),
        judge=NameByPid(),
        probes=None,
        settle_time=0,
        budget=Budget(30_000),
    )
    census.scan()
    told = [census.why(child.pid) for child in children]
    assert all(why.leads for why in told)
    short = [why for why in told if why.process.shortened]
    assert short
    assert all(why.detail.endswith(SHORT) for why in short)
    assert all(len(why.process.arguments) <= SHORT_ARGUMENTS for why in short)
    assert census.budget.shortened >= len(short)
    for child in children:
        child.kill()
        child.wait()
    census.reconcile()
    assert all(census.why(child.pid) is None for child in children)


def test_the_same_masked_text_is_reported_and_shown(
    agent: RunningAgent, spawn: Spawn, tmp_path: Path
):
    child = spawn(
        "/bin/sh", "-c", "sleep 60; :", "--db-password", "hunter2", "TOKEN=hunter2",
        "postgres://u:hunter2@h/d",
    )  # fmt: skip
    shown = "/bin/sh -c sleep 60; : --db-password *** TOKEN=*** postgres://u:***@h/d"
    assert agent.wait_for(child.pid, 60).properties["command_line"] == shown
    listed = subprocess.run(
        [ROVER, "ps", "-o", "json", str(child.pid), "--state-dir", str(tmp_path / "state")],
        check=True,
        capture_output=True,
        text=True,
    )
    assert json.loads(listed.stdout)[0]["command_line"] == shown
    table = subprocess.run(
        [ROVER, "ps", str(child.pid), "--state-dir", str(tmp_path / "state")],
        check=True,
        capture_output=True,
        text=True,
    )
    assert shown in table.stdout
    assert "hunter2" not in agent.log.read_text() + listed.stdout + table.stdout


@pytest.mark.parametrize(
    ("told", "shown"),
    [("full", "/bin/sh -c sleep 60; : --token hunter2"), ("name_only", "/bin/sh")],
)
def test_what_is_told_is_as_configured(
    backend: EmbeddedBackend, tmp_path: Path, spawn: Spawn, told: str, shown: str
):
    child = spawn("/bin/sh", "-c", "sleep 60; :", "--token", "hunter2")
    options = ("--set", f"process_discovery.command_line={told}")
    with running(backend, tmp_path, *options, config=BY_PID) as agent:
        assert agent.wait_for(child.pid, 60).properties["command_line"] == shown


def test_names_are_made_of_the_whole_command_line(spawn: Spawn):
    child = spawn("/bin/sh", "-c", "sleep 60; :", "--token", "hunter2")
    process = read(child.pid, Redaction(CommandLineTold.REDACTED))
    assert process.command_line == "/bin/sh -c sleep 60; : --token hunter2"
    assert "hunter2" not in repr(process)
