"""`rover start` in places where few have tried it."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import fuse
import pytest
from agent_rig import BY_PID, ROVER, row_of, running

from rover.backend import EmbeddedBackend
from rover.cli.signals import IGNORED

pytestmark = pytest.mark.kernel

Spawn = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def backend() -> Iterator[EmbeddedBackend]:
    with EmbeddedBackend() as started:
        yield started


def in_time_namespace(seconds: int) -> tuple[str, ...]:
    wrap = (shutil.which("unshare") or "unshare", "--time", "--boottime", str(seconds))
    tried = subprocess.run([*wrap, "true"], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip(f"no time namespace to be had: {tried.stderr.decode().strip()}")
    return wrap


WITHOUT_TRACING = ("setpriv", "--bounding-set=-bpf,-perfmon,-sys_admin", "--inh-caps=-all")


@pytest.mark.parametrize("seconds", [864_000, -1])
@pytest.mark.parametrize("ebpf", [True, False])
def test_in_a_time_namespace_starts_and_ends_are_seen(
    backend: EmbeddedBackend, tmp_path: Path, spawn: Spawn, seconds: int, *, ebpf: bool
):
    beats = {"ROVER_PROCESS_DISCOVERY_HEARTBEAT_PERIOD": "1s"}
    scans = {"ROVER_PROCESS_DISCOVERY_SCAN_PERIOD": "500ms"}
    wrap = (*in_time_namespace(seconds), *(() if ebpf else WITHOUT_TRACING))
    earlier = spawn("/bin/sleep", "73")
    with running(
        backend, tmp_path, config=BY_PID, wrap=wrap, environment={**beats, **scans}
    ) as agent:
        agent.wait_for(earlier.pid)
        later = spawn("/bin/sleep", "74")
        agent.wait_for(later.pid)
        for gone in (earlier, later):
            gone.kill()
            gone.wait()
        ended = time.monotonic()
        here = os.getpid()
        backend.state.wait_for(lambda held: beaten(held, here) > ended + 2.5, 10)
        assert beaten(backend.state.snapshot(), earlier.pid) < ended + 1.5
        assert beaten(backend.state.snapshot(), later.pid) < ended + 1.5
        log = agent.log.read_text()
    assert ("ebpf=raw_tracepoints" in log) == ebpf


def beaten(held: object, pid: int) -> float:
    """Tell when a process was beaten for last, 0 for never."""
    row = row_of(held, pid)
    return row.last_ping.monotonic if row and row.last_ping else 0.0


SENT = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM)
ANY_SIGNAL = sorted(IGNORED | {signal.SIGPIPE, signal.SIGWINCH, signal.SIGURG})


def test_no_signal_that_means_nothing_ends_the_agent_and_each_is_told(
    backend: EmbeddedBackend, tmp_path: Path, spawn: Spawn, eventually: Callable[..., object]
):
    with running(backend, tmp_path, config=BY_PID) as agent:
        agent.wait_for(os.getpid())
        for number in ANY_SIGNAL:
            agent.process.send_signal(number)
        told = {"SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGPWR"}
        eventually(lambda: all(f"{name} ignored: " in agent.log.read_text() for name in told))
        agent.wait_for(spawn("/bin/sleep", "75").pid)
        assert "read at the start alone" in agent.log.read_text()
        agent.terminate()
        assert agent.process.returncode == 0


def test_signals_during_the_start_do_not_end_the_agent(
    backend: EmbeddedBackend, tmp_path: Path, eventually: Callable[..., object]
):
    with running(backend, tmp_path, config=BY_PID) as agent:
        eventually(lambda: ignores(agent.pid, SENT))  # as soon as Python runs anything of ours
        while not backend.state.snapshot().processes and agent.process.poll() is None:
            for number in SENT:
                agent.process.send_signal(number)
            time.sleep(0.02)
        agent.wait_for(os.getpid())


def ignores(pid: int, numbers: Iterable[int]) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    ignored = int(status.partition("SigIgn:")[2].split()[0], 16)
    return all(ignored & 1 << number - 1 for number in numbers)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_what_asks_for_the_end_ends_the_agent_in_order(
    backend: EmbeddedBackend, tmp_path: Path, number: int
):
    with running(backend, tmp_path, config=BY_PID) as agent:
        agent.wait_for(os.getpid())
        agent.process.send_signal(number)
        assert agent.process.wait(5) == 0
        assert agent.log.read_text().rstrip().endswith("stopped")


def test_an_agent_whose_terminal_goes_away_ends_in_order(backend: EmbeddedBackend, tmp_path: Path):
    ours, theirs = pty.openpty()
    log = tmp_path / "log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            ["setsid", "--ctty", ROVER, "start", "--state-dir", tmp_path / "state"],
            env={**os.environ, "ROVER_BACKEND_ADDR": backend.address},
            stdin=theirs,
            stdout=theirs,
            stderr=sink,
        )
    os.close(theirs)
    try:
        backend.state.wait_for(lambda held: held.processes)
        os.close(ours)
        assert process.wait(5) == 0
    finally:
        process.kill()
        process.wait()
    assert log.read_text().rstrip().endswith("stopped")


def fill(pipe: int) -> None:
    """Write to a pipe until it takes no more, without its other writers waiting less."""
    own = os.open(f"/proc/self/fd/{pipe}", os.O_WRONLY | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(own, b"-" * select.PIPE_BUF)
    os.close(own)


def drain(pipe: int) -> str:
    """Read all that there is in a pipe now."""
    os.set_blocking(pipe, False)
    found = b""
    with contextlib.suppress(BlockingIOError):
        while part := os.read(pipe, 1 << 20):
            found += part
    return found.decode()


DEBUGGING = BY_PID.replace(
    "process_discovery:",
    "logger: {level: DEBUG}\nprocess_discovery:\n  heartbeat_period: 1s",
)


def test_a_log_that_nobody_reads_holds_nothing_up_and_its_gap_is_told(
    backend: EmbeddedBackend, tmp_path: Path, spawn: Spawn, eventually: Callable
):
    # as with a journal that hangs, or a pager that waits for its reader
    reading, writing = os.pipe()
    with running(backend, tmp_path, config=DEBUGGING, stderr=writing) as agent:
        agent.wait_for(os.getpid())
        fill(writing)
        for _ in range(20):
            agent.wait_for(spawn("sleep", "300").pid)
        drain(reading)
        told: list[str] = []

        def is_told() -> bool:
            told.append(drain(reading))
            return "WARNING rover.log the log was not read for a while" in "".join(told)

        eventually(is_told)
        fill(writing)
        assert agent.terminate(within=5.0) < 5.0
        assert agent.process.returncode == 0
    os.close(reading)
    os.close(writing)


def test_a_log_file_whose_server_is_away_holds_nothing_up(
    backend: EmbeddedBackend, tmp_path: Path, spawn: Spawn
):
    place = tmp_path / "mount"
    place.mkdir()
    with fuse.mounted(place, "") as server:
        # once the server has said that it knows no flush, the kernel asks for none at a close
        os.close(os.open(place / "file", os.O_WRONLY))
        file = os.open(place / "file", os.O_WRONLY)
        try:
            with running(backend, tmp_path, config=DEBUGGING, stderr=file) as agent:
                agent.wait_for(os.getpid())
                server.send_signal(signal.SIGSTOP)
                for _ in range(20):
                    agent.wait_for(spawn("sleep", "300").pid)
                assert agent.ask("/healthz")["discovery"] == "works"
                assert agent.terminate(within=5.0) < 5.0
                assert agent.process.returncode == 0
        finally:
            server.kill()
            os.close(file)
