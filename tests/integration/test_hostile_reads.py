"""The real agent beside processes that do what they can to hold it up, as another user."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fuse
import pytest
from agent_rig import BY_PID, RunningAgent, running

from rover.backend import EmbeddedBackend

NOBODY = 65534

# Lets a child of its own read a page of it whose file system never answers: that child holds the
# lock of this memory (mmap_lock) meanwhile, a thread that maps something waits for it, and whoever
# asks the kernel for the arguments waits behind that. No right is needed for any of it.
LOCKED = """
import ctypes, os, sys, time
os.setgid(65534), os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # readable by its own kind again
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
at = libc.mmap(None, 4096, 1, 2, os.open(sys.argv[1], os.O_RDONLY), 0)
me = os.getpid()
if os.fork() == 0:
    memory = os.open(f"/proc/{me}/mem", os.O_RDONLY)
    os.write(1, b"held\\n")
    os.pread(memory, 1, at)
    os._exit(0)
time.sleep(0.3)
libc.mmap(None, 4096, 3, 34, -1, 0)
time.sleep(600)
"""


class Watched:
    """An agent whose health can be asked for."""

    def __init__(self, agent: RunningAgent, port: int, backend: EmbeddedBackend) -> None:
        self.agent = agent
        self.port = port
        self.backend = backend

    def health(self) -> tuple[int, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        told = json.loads(answer.read())
        connection.close()
        return answer.status, told


@contextlib.contextmanager
def watched_agent(folder: Path) -> Iterator[Watched]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"ROVER_STATUS_ADDR": f"127.0.0.1:{port}"}
    folder.mkdir(exist_ok=True)
    with (
        EmbeddedBackend() as backend,
        running(backend, folder, config=CONFIG, environment=environment) as agent,
    ):
        yield Watched(agent, port, backend)


CONFIG = BY_PID.replace("mode: REGEX", "mode: AUTO")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    found = tmp_path / "fuse"
    found.mkdir()
    return found


def start_held(spawn: Callable[..., subprocess.Popen[bytes]], place: Path) -> int:
    for above in place.parents[:3]:
        above.chmod(0o755)
    held = spawn(
        sys.executable, "-c", LOCKED, str(place / "file"),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert held.stdout.readline() == b"held\n"
    time.sleep(0.5)
    return held.pid


@pytest.mark.kernel
def test_a_process_whose_arguments_never_come_holds_nobody_else_up(tmp_path, spawn, place):
    before = spawn("sleep", "300")
    with fuse.mounted(place, str(fuse.READ)):
        held = start_held(spawn, place)
        with watched_agent(tmp_path / "agent") as watched:
            row = watched.agent.wait_for(before.pid, 10)
            assert row.properties["command_line"] == "sleep 300"
            until = time.monotonic() + 5
            while "stuck" not in watched.health()[1]["foreign_reads"]:
                assert time.monotonic() < until, watched.health()
                time.sleep(0.05)
            status, told = watched.health()
            assert status == 200, "a restart would meet the same process again"
            assert f"pid {held} of uid {NOBODY}" in told["foreign_reads"]
            later = spawn("sleep", "301")
            row = watched.agent.wait_for(later.pid, 5)
            assert row.properties["command_line"] == "sleep 301"
            # it is reported in the end, without what it does not give
            assert watched.agent.wait_for(held, 10).properties["command_line"] == ""
            assert watched.agent.terminate(within=5.0) < 5.0
        assert b"Traceback" not in watched.agent.log.read_bytes()
