"""The commands and what a shell does to them: streams closed, full or left alone, and Ctrl-C."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_rig import ROVER
from status_rig import Fake, serving
from stories import ON_HOST, Known, host, kept

from rover.explain.entities import listed

NAME = "漢字-é"
FIRST = 2**22
"""Of pids that nothing here has: the kernel's own end below it."""
COMMANDS = ("ps", "ps -o json", "status -o json", "events --for 0", "version", "--help")


def many() -> list[dict[str, Any]]:
    """Tell of more processes than a pipe holds."""
    row = listed(Known(host(), ON_HOST).table.why(ON_HOST.pid), kept)
    row["entities"][0]["service"] = NAME
    return [row | {"pid": pid} for pid in range(FIRST, FIRST + 2_000)]


class Told(Fake):
    def processes(self) -> list[dict[str, Any]]:
        return many()


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("state", numbered=True)
    folder.chmod(0o700)
    with serving(folder, "", Told()):
        yield folder


def by_shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Have a shell run a line in which ROVER is the program, asking the agent of this folder."""
    if "--help" not in line and "version" not in line:
        line = line.replace("ARGS", f"ARGS --state-dir {shlex.quote(str(folder))}")
    line = line.replace("ROVER", shlex.quote(str(ROVER))).replace("ARGS", "")
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_without_a_standard_output_they_run(agent: Path, command: str):
    done = by_shell(f"ROVER {command} ARGS >&-", agent)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_any_stream_they_run(agent: Path):
    assert by_shell("ROVER ps ARGS <&- >&- 2>&-", agent).returncode == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_what_cannot_be_written_is_told_in_a_line(agent: Path, command: str):
    done = by_shell(f"ROVER {command} ARGS >/dev/full", agent)
    assert done.stderr == "rover: cannot write: No space left on device\n"
    assert done.returncode == 1


@pytest.mark.parametrize("command", ["ps", "ps -o json", "ps -o name", "ps --watch"])
def test_a_reader_that_has_gone_is_no_failure_to_tell(agent: Path, command: str):
    done = by_shell(f"ROVER {command} ARGS | head -c 1", agent)
    assert done.stderr == ""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_name_goes_through_every_encoding(agent: Path, encoding: str):
    done = subprocess.run(
        [ROVER, "ps", "-o", "name", "--state-dir", agent],
        capture_output=True, check=True, env={**os.environ, "PYTHONIOENCODING": encoding},
    )  # fmt: skip
    assert done.stderr == b""
    assert NAME.encode(encoding, "backslashreplace") in done.stdout


class Hesitant(Fake):
    """Is asked, and says nothing until it may."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.may_answer = threading.Event(), threading.Event()

    def processes(self) -> list[dict[str, Any]]:
        self.asked.set()
        self.may_answer.wait(30)
        return []


def test_ctrl_c_before_an_answer_ends_without_a_word_and_with_130(tmp_path: Path):
    tmp_path.chmod(0o700)
    answers = Hesitant()
    with serving(tmp_path, "", answers):
        process = subprocess.Popen(
            [ROVER, "ps", "--state-dir", tmp_path],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert answers.asked.wait(20)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20) == ("", None)
        answers.may_answer.set()
    assert process.returncode == 130


def test_ctrl_c_ends_what_goes_on_until_then_with_0(agent: Path):
    process = subprocess.Popen(
        [ROVER, "events", "--state-dir", agent],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline().startswith("TIME")
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20) == ("", None)
    assert process.returncode == 0


def test_events_have_no_head_where_there_is_no_agent(tmp_path: Path):
    done = subprocess.run(
        [ROVER, "events", "--state-dir", tmp_path], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "no agent runs" in done.stderr


def test_a_choice_that_nothing_meets_is_said_beside_the_output(agent: Path):
    done = by_shell("ROVER ps -o json --service nothing ARGS", agent)
    assert (done.returncode, json.loads(done.stdout)) == (0, [])
    assert "no process is such" in done.stderr


def test_a_pid_that_is_a_threads_is_told_with_its_process_after_the_others(agent: Path):
    thread = threading.Thread(target=threading.Event().wait, args=(30,), daemon=True)
    thread.start()
    done = by_shell(f"ROVER ps {FIRST} {thread.native_id} ARGS", agent)
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["PID", str(FIRST)]
    assert f"it is a thread of process {os.getpid()}" in done.stderr
    assert done.returncode == 1
