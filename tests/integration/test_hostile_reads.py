"""The real agent beside processes that do what they can to hold it up, as another user."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import tempfile
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


# Each prepares what it is named for below its TMPDIR, as a user without rights, and lives on.
PREPARE = """
import fcntl, os, sys, time
base, me = os.environ["TMPDIR"], str(os.getpid())
process = os.path.join(sys.argv[2], "apache_skywalking", "process")
own = os.path.join(process, me)
file = os.path.join(own, "metadata.properties")
NAMES = "layer=GENERAL\\nservice_name={}\\ninstance_name=i\\nprocess_name=p\\n"
def write(text):
    os.makedirs(own, exist_ok=True)
    with open(file, "w") as opened:
        opened.write(text)
def prepare(what):
    if what == "zombie":
        child = os.fork()
        if child == 0:
            os._exit(0)
        time.sleep(0.2)
        os.makedirs(os.path.dirname(process))
        os.symlink(f"/proc/{child}/net", process)
    elif what.startswith("nested"):
        depth = int(what.removeprefix("nested"))
        write(NAMES.format(what) + 'properties={"a":' + "[" * depth + "]" * depth + "}\\n")
    elif what == "links":
        for number in range(40):
            os.symlink(f"l{number + 1}", os.path.join(sys.argv[2], f"l{number}"))
        os.mkdir(os.path.join(sys.argv[2], "l40"))
    elif what == "many":
        write("")
        for number in range(100_000):
            open(os.path.join(process, str(10**9 + number)), "x").close()
    elif what == "fifo":
        os.makedirs(own)
        os.mkfifo(file)
    elif what == "sparse":
        write("")
        os.truncate(file, 4 << 30)
    elif what == "lease":
        write(NAMES.format("lease"))
        opened = os.open(file, os.O_WRONLY)
        fcntl.fcntl(opened, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        import signal
        signal.signal(signal.SIGIO, signal.SIG_IGN)
    elif what == "shop":
        write(NAMES.format("shop"))
        while True:
            os.utime(file)
            time.sleep(5)
    elif what == "rewritten":
        for number in range(10**9):
            write(NAMES.format(f"rewritten{number}") + "x=" + "y" * 60_000)
            if number == 0:
                print("ready", flush=True)
            time.sleep(0.2)
prepared = prepare(sys.argv[1]) if sys.argv[1] not in {"shop", "rewritten"} else None
print("ready", flush=True)
if sys.argv[1] in {"shop", "rewritten"}:
    prepare(sys.argv[1])
time.sleep(600)
"""
HOSTILE = (
    "zombie", "nested930", "nested965", "nested1000", "links", "upwards", "many", "fifo", "sparse",
    "lease", "rewritten", "fuse nobody serves", "link to it", "fuse that never answers",
)  # fmt: skip


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
        answer.read()
        connection.close()
        return answer.status, self.agent.ask("/healthz")


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
def tmp_path() -> Iterator[Path]:
    """One that other users can enter; pytest's own is shut whenever another run begins."""
    with tempfile.TemporaryDirectory(prefix="rover-test-") as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    found = tmp_path / "fuse"
    found.mkdir()
    return found


def start_held(spawn: Callable[..., subprocess.Popen[bytes]], place: Path) -> int:
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
            row = watched.agent.wait_for(before.pid, 60)
            assert row.properties["command_line"] == "sleep 300"
            until = time.monotonic() + 20
            by = f" on pid {held} of uid {NOBODY}"
            while by not in (health := watched.health())[1]["foreign_reads"]:
                assert time.monotonic() < until, health
                time.sleep(0.05)
            status, told = health
            assert status == 200, "a restart would meet the same process again"
            assert told["foreign_reads"].startswith("stuck for ")
            later = spawn("sleep", "301")
            # where its fork takes long to become a program, one by its former name comes first
            watched.backend.state.wait_for(
                lambda held: any(
                    (row.pid, row.properties.get("command_line")) == (later.pid, "sleep 301")
                    for row in held.processes
                ),
                30,
            )
            # it is reported in the end, without what it does not give
            assert watched.agent.wait_for(held, 30).properties["command_line"] == ""
            assert watched.agent.terminate(within=5.0) < 5.0
        assert b"Traceback" not in watched.agent.log.read_bytes()


def start_prepared(
    spawn: Callable[..., subprocess.Popen[bytes]], folder: Path, what: str, tmpdir: str = ""
) -> int:
    """Start a process of another user with a TMPDIR that it has prepared."""
    place = folder / what.replace(" ", "-")
    place.mkdir(mode=0o777, exist_ok=True)
    place.chmod(0o777)
    tmpdir = tmpdir or {"links": f"{place}/l0", "upwards": f"{place}/" + "a/../" * 700}.get(
        what, str(place)
    )
    other = spawn(
        *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
        *("/usr/bin/python3", "-c", PREPARE, what, str(place)),
        env={"PATH": os.environ["PATH"], "TMPDIR": tmpdir},
        stdout=subprocess.PIPE,
    )
    assert other.stdout.readline() == b"ready\n"
    return other.pid


@pytest.mark.kernel
def test_whatever_users_put_below_their_tmpdir_the_agent_goes_on(tmp_path, spawn):
    with contextlib.ExitStack() as stack:
        for name, unanswered in (("nobody", "none"), ("silent", "1,3,14,15,17,27,34")):
            (tmp_path / name).mkdir()
            stack.enter_context(fuse.mounted(tmp_path / name, unanswered))
        (tmp_path / "link").symlink_to(tmp_path / "nobody")
        os.lchown(tmp_path / "link", NOBODY, NOBODY)
        places = {
            "fuse nobody serves": str(tmp_path / "nobody"),
            "link to it": str(tmp_path / "link"),
            "fuse that never answers": str(tmp_path / "silent"),
        }
        hostile = {
            what: start_prepared(spawn, tmp_path, what, places.get(what, "")) for what in HOSTILE
        }
        shop = start_prepared(spawn, tmp_path, "shop")
        with watched_agent(tmp_path / "agent") as watched:
            assert watched.agent.wait_for(shop, 60).entity.service == "shop"
            for what, pid in hostile.items():
                row = watched.agent.wait_for(pid, 30)  # of each, whatever it has prepared
                assert row.entity.service.startswith(what) or not what.startswith("nested")
            # three looks later all is as it was
            until = time.monotonic() + 10
            while time.monotonic() < until:
                later = spawn("sleep", "300")
                assert watched.agent.wait_for(later.pid, 20).entity.service != "shop"
                status, told = watched.health()
                assert status == 200
                assert (told["discovery"], told["reporter"]) == ("works", "works")
                assert (told["defects"], told["foreign_reads"]) == ("none that lasts", "works")
                later.kill()
                time.sleep(0.5)
            seen = {row.entity.service for row in watched.backend.state.snapshot().processes}
            assert len([name for name in seen if name.startswith("rewritten")]) < 8
            assert watched.agent.terminate(within=5.0) < 5.0
        log = watched.agent.log.read_text()
        assert "Traceback" not in log
        assert "defect" not in log
        assert "held_up" not in log
