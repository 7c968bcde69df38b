"""`rover start` in places where few have tried it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent_rig import BY_PID, row_of, running

from rover.backend import EmbeddedBackend

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
    assert ("ebpf=attached" in log) == ebpf


def beaten(held: object, pid: int) -> float:
    """Tell when a process was beaten for last, 0 for never."""
    row = row_of(held, pid)
    return row.last_ping.monotonic if row and row.last_ping else 0.0
