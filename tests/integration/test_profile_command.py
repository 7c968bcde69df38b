"""`rover profile` as it is met at a terminal: what it tells, and what it refuses."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_rig import ROVER
from status_rig import NOBODY
from terminal import Terminal

from bench.rig.profiled import SPLIT_C, built, running

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("program"), "split", SPLIT_C)


@pytest.fixture
def burner(program: Path) -> Iterator[int]:
    with running(program) as process:
        yield process.pid


def refused(*arguments: object, wrap: tuple[str, ...] = (), **variables: str) -> str:
    """What was said instead."""
    done = subprocess.run(
        [*wrap, ROVER, "profile", *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=90, env={**os.environ, **variables},
    )  # fmt: skip
    assert done.returncode == 1
    assert not done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_terminal_sees_how_far_it_is_and_ctrl_c_ends_it_with_what_there_is(
    burner: int, tmp_path: Path
):
    terminal = Terminal(100, 30)
    place = tmp_path / "profile.svg"
    command = [ROVER, "profile", str(burner), "--seconds", "600", "--file", place]
    process = subprocess.Popen(command, stdout=terminal.theirs, stderr=terminal.theirs)
    terminal.wait_for("loading the programs")
    terminal.wait_for(r"\d of 600 s, [1-9]\d* dumps, [\d.]+ % of stacks whole")
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    terminal.wait_for(rf"split \({burner}\), on CPU, [\d.]+ s: [1-9]\d* dumps")
    assert b"heavy" in place.read_bytes()
    assert place.stat().st_mode & 0o777 == 0o600


def test_a_pid_that_is_nobodys_is_said_to_be_so():
    with running("/bin/sleep", "60") as process:
        pass
    assert f"no process has pid {process.pid}" in refused(process.pid)


def test_a_threads_id_leads_to_its_process():
    ready, end = threading.Event(), threading.Event()
    found: list[int] = []

    def wait() -> None:
        found.append(threading.get_native_id())
        ready.set()
        end.wait()

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        assert ready.wait(5)
        said = refused(found[0])
    finally:
        end.set()
        thread.join()
    assert f"{found[0]} is a thread of process {os.getpid()}: profile that one" in said


def test_who_has_no_rights_is_told_which_are_missing(burner: int):
    ids = (f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    said = refused(burner, wrap=("setpriv", *ids), PYTHONDONTWRITEBYTECODE="1")
    assert "missing CAP_PERFMON, CAP_BPF: run as root" in said


def test_without_bcc_the_package_is_named(burner: int):
    hide = 'mount -t tmpfs none /usr/lib/python3/dist-packages/bcc\nexec "$@"'
    said = refused(burner, wrap=("unshare", "--mount", "sh", "-ec", hide, "sh"))
    assert "apt-get install python3-bpfcc" in said


def test_what_the_configuration_ignores_is_refused_unless_it_is_asked_for(
    burner: int, tmp_path: Path
):
    config = tmp_path / "rover.yaml"
    config.write_text("process_discovery:\n  ignore: ['/split$']\n")
    said = refused(burner, "--config", config)
    assert f"process {burner} is ignored, by '/split$' of process_discovery.ignore" in said
    assert "--ignored" in said
    done = subprocess.run(
        [ROVER, "profile", str(burner), "--config", config, "--ignored", "--seconds", "0.5",
         "-o", "folded", "--file", "-"],
        capture_output=True, text=True, check=False, timeout=90,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
