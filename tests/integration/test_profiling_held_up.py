"""Profiles of processes whose code lies on a file system that answers no more, and of others.

The kernel keeps who reads there: what is started to read binaries cannot even be killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fuse
import pytest
from agent_rig import ROVER, RunningAgent, running

from bench.rig.profiled import SPLIT_C, built
from rover.backend import EmbeddedBackend
from rover.binaries.reader import ChildLost, HeldUpError, Reader, Supported
from rover.foreign.blame import blame_of
from rover.profiling.usage import start_ticks
from rover.status.client import ask

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(240)]

NOBODY = 65534
LIBRARY_C = """
volatile unsigned long sink;
void burn(void) { for (;;) for (long i = 0; i < 1000; i++) sink += i * i; }
"""
BURN = "import ctypes, sys; ctypes.CDLL(sys.argv[1]).burn()"
CONFIG = """
process_discovery:
  heartbeat_period: 2s
  scanner:
    mode: REGEX
    regex:
      - match_cmd: "(fuse/file|ordinary)"
        layer: OS_LINUX
        service_name: test
        instance_name: host
        process_name: "{{.Process.Pid}}"
profiling:
  check_interval: 500ms
  flush_interval: 1s
"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Another user may enter it."""
    with tempfile.TemporaryDirectory(prefix="rover-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture(scope="module")
def program(folder: Path) -> Path:
    return built(folder, "ordinary", SPLIT_C)


@pytest.fixture(scope="module")
def library(folder: Path) -> Path:
    source, made = folder / "burn.c", folder / "burn.so"
    source.write_text(LIBRARY_C)
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", made, source], check=True)
    return made


@contextlib.contextmanager
def on_a_mount_that_fell_silent(
    folder: Path, content: Path, *command: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program that has its code, or a part of it, on a mount that answers no more.

    Args:
        folder: has the mount.
        content: what the mount's file has.
        command: begins the program, which is given the file.
    """
    place = folder / "fuse"
    place.mkdir(exist_ok=True)
    with fuse.mounted(place, fuse.ALL, content=content) as server:
        process = subprocess.Popen([*command, str(place / "file")], user=NOBODY)
        try:
            _wait_until_it_burns(process.pid, str(place))
            server.send_signal(signal.SIGUSR1)
            yield process
        finally:
            process.kill()
            server.kill()  # which ends all reads there
            process.wait()


def _wait_until_it_burns(pid: int, place: str) -> None:
    """Wait until a process has mapped a file of the mount, and has run for a while since."""
    until, began = time.monotonic() + 30, None
    while time.monotonic() < until:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        used = int(fields[11]) + int(fields[12])
        if began is None and place in Path(f"/proc/{pid}/maps").read_text():
            began = used
        if began is not None and used > began + 50:
            return
        time.sleep(0.05)
    raise AssertionError("it does not run from the mount")


@pytest.fixture(params=["executable", "library"])
def silent(
    request: pytest.FixtureRequest, folder: Path, program: Path, library: Path
) -> Iterator[int]:
    """A process of another user whose code is to be had no more."""
    content, command = program, ()
    if request.param == "library":
        content, command = library, (sys.executable, "-c", BURN)
    with on_a_mount_that_fell_silent(folder, content, *command) as process:
        yield process.pid


def readers() -> set[int]:
    """The children of whoever that read binaries."""
    found = set()
    for each in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if each.name.isdigit() and b"rover.binaries.child" in (each / "cmdline").read_bytes():
                found.add(int(each.name))
    return found


def test_a_profile_of_it_is_refused_in_time_and_says_why(silent: int, tmp_path: Path):
    began = time.monotonic()
    done = subprocess.run(
        [ROVER, "profile", str(silent), "--seconds", "1", "--file", tmp_path / "profile.svg"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert time.monotonic() - began < 45
    assert done.returncode == 1
    assert "held up" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "profile.svg").exists()


def test_a_user_whose_file_holds_a_child_takes_no_other_childs_place(
    silent: int, program: Path, spawn: Callable
):
    # each such child is there for as long as the read hangs, and there are few places
    same_user = spawn(str(program), user=NOBODY).pid
    others = [spawn(str(program), user=NOBODY - 1).pid, spawn(str(program)).pid]
    reader = Reader(answer_s=3.0)
    try:
        with pytest.raises(ChildLost, match="held up"):
            reader.look(silent, start_ticks(silent))
        for pid in others:
            assert reader.look(pid, start_ticks(pid))[1]
        assert reader.started == 2
        for pid in (silent, same_user):
            with pytest.raises(
                HeldUpError, match=f"held up by what it read of pid {silent} of uid"
            ):
                reader.look(pid, start_ticks(pid))
        assert reader.look(others[0], start_ticks(others[0]))[1]
        assert reader.started == 2
    finally:
        reader.close()


def test_of_many_asked_at_once_whoever_holds_the_child_up_is_found_and_the_others_are_told(
    folder: Path, program: Path, spawn: Callable
):
    others = [blame_of(spawn(str(program), user=NOBODY - 1).pid) for _ in range(3)]
    reader = Reader(answer_s=3.0)
    with on_a_mount_that_fell_silent(folder, program) as silent:
        try:
            hangs = blame_of(silent.pid)
            asked = [*others[:2], hangs, others[2]]
            assert reader.supports(asked, 30.0) == Supported([True, True], held_up=True)
            assert reader.supports(asked[2:], 30.0) == Supported([None, True], held_up=False)
            assert reader.started == 2
        finally:
            reader.close()


def test_a_task_for_it_and_an_ordinary_one_brings_the_ordinary_ones_profile(
    silent: int, program: Path, tmp_path: Path, spawn: Callable
):
    before = readers()
    with (
        EmbeddedBackend() as backend,
        running(backend, tmp_path, config=CONFIG) as agent,
    ):
        ordinary = agent.wait_for(spawn(str(program)).pid, 60)
        assert agent.wait_for(silent, 60)
        task = backend.profiling.create_task("ON_CPU", 600, service="test")
        backend.profiling.wait_for(task.id, lambda found: "heavy" in symbols(found), 90)
        assert is_well(agent)
        later = agent.wait_for(spawn(str(program)).pid, 30)
        assert later.id != ordinary.id
        assert agent.terminate(within=5.0) < 5.0
        assert agent.process.returncode == 0
        assert "Traceback" not in agent.log.read_text()
    left = [pid for pid in readers() - before if parent(pid) == os.getpid()]
    assert not left


def symbols(profile: object) -> str:
    """The names of functions in a profile's tree."""
    nodes, found = list(profile.roots), []
    while nodes:
        node = nodes.pop()
        found.append(node.frame.symbol)
        nodes += node.children
    return " ".join(found)


def parent(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def is_well(agent: RunningAgent) -> bool:
    told = ask(agent.state, "/healthz").json()
    return (told["discovery"], told["reporter"]) == ("works", "works")
