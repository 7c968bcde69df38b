"""`rover start --embedded`, which `make run` starts: what a newcomer sees."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from agent_rig import ROVER
from terminal import Terminal

pytestmark = pytest.mark.kernel

Spawn = Callable[..., "subprocess.Popen[bytes]"]
BEAT = "--set=process_discovery.heartbeat_period=1s"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return shutil.copy("/bin/sleep", tmp_path / f"new-{os.getpid()}")


def on_a_terminal(tmp_path: Path, spawn: Spawn) -> tuple[Terminal, subprocess.Popen[bytes]]:
    terminal = Terminal(120, 50)
    agent = spawn(
        ROVER, "start", "--embedded", "--state-dir", str(tmp_path / "state"), BEAT,
        stdin=terminal.theirs, stdout=terminal.theirs, stderr=terminal.theirs,
    )  # fmt: skip
    return terminal, agent


def test_on_a_terminal_a_new_program_shows_within_a_second_and_its_end_as_gone(
    tmp_path: Path, spawn: Spawn, program: Path
):
    terminal, agent = on_a_terminal(tmp_path, spawn)
    os.close(terminal.theirs)
    terminal.wait_for(r"service\s+instance\s+process\s+pid\s+age\s+last beat")
    terminal.wait_for(r"\ds ago")
    child = spawn(str(program), "60")
    began = time.monotonic()
    terminal.wait_for(rf"{program.name}\s+{child.pid}\s+\ds")
    assert time.monotonic() - began < 1
    child.kill()
    child.wait()
    terminal.wait_for(rf"{program.name}\s+{child.pid}\s+\d+s\s+gone")
    agent.send_signal(signal.SIGINT)
    assert agent.wait(5) == 0


def test_where_the_output_is_no_terminal_each_change_is_a_line(
    tmp_path: Path, spawn: Spawn, program: Path, eventually: Callable
):
    output = tmp_path / "output"
    with output.open("wb") as sink:
        agent = spawn(
            ROVER, "start", "--embedded", "--state-dir", str(tmp_path / "state"), BEAT,
            stdout=sink,
        )  # fmt: skip
    eventually(output.read_text, 10)
    child = spawn(str(program), "60")
    came = rf"(?m)^\+ .*{program.name} pid={child.pid}$"
    eventually(lambda: re.search(came, output.read_text()), 1)
    child.kill()
    child.wait()
    went = rf"(?m)^- .*{program.name} pid={child.pid}$"
    eventually(lambda: re.search(went, output.read_text()), 5)
    agent.send_signal(signal.SIGINT)
    assert agent.wait(5) == 0


def test_it_ends_though_its_terminal_takes_nothing(tmp_path: Path, spawn: Spawn):
    terminal, agent = on_a_terminal(tmp_path, spawn)
    terminal.wait_for(r"\ds ago")
    termios.tcflow(terminal.theirs, termios.TCOOFF)  # Ctrl-S
    for _ in range(5):
        spawn("sleep", "300")
    time.sleep(2.5)  # a view is drawn once a second at least
    began = time.monotonic()
    agent.terminate()
    assert agent.wait(20) == 0
    assert time.monotonic() - began < 5
    os.close(terminal.theirs)


def test_what_a_terminal_did_not_take_for_a_while_is_shown_once_it_does(
    tmp_path: Path, spawn: Spawn, program: Path
):
    terminal, agent = on_a_terminal(tmp_path, spawn)
    terminal.wait_for(r"\ds ago")
    termios.tcflow(terminal.theirs, termios.TCOOFF)
    child = spawn(str(program), "60")
    time.sleep(2.5)
    termios.tcflow(terminal.theirs, termios.TCOON)
    terminal.wait_for(rf"{program.name}\s+{child.pid}\s+\ds")
    agent.send_signal(signal.SIGINT)
    assert agent.wait(20) == 0
    os.close(terminal.theirs)
