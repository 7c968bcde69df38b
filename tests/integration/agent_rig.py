"""The agent as its users run it: `rover start` in a process of its own, on an embedded backend."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rover.backend import EmbeddedBackend, StoredProcess
from rover.status.client import ask

ROVER = Path(sys.executable).with_name("rover")

BY_PID = """
process_discovery:
  scanner:
    mode: REGEX
    regex:
      - match_cmd: .*
        layer: OS_LINUX
        service_name: test
        instance_name: host
        process_name: "{{.Process.ExeName}}-{{.Process.Pid}}"
"""
"""Each process is an entity of its own."""


@dataclass
class RunningAgent:
    process: subprocess.Popen[bytes]
    backend: EmbeddedBackend
    log: Path
    state: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_for(self, pid: int, within: float = 30.0) -> StoredProcess:
        """Wait until the backend shows a process with this pid, and return it."""
        held = self.backend.state.wait_for(lambda held: row_of(held, pid), within)
        found = row_of(held, pid)
        assert found is not None
        return found

    def ask(self, target: str) -> Any:
        """Ask over the agent's socket; return the JSON of its answer."""
        return ask(self.state, target).json()

    def terminate(self, within: float = 5.0) -> float:
        """Send SIGTERM; return how long the end took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(within)
        return time.monotonic() - began


def row_of(held: object, pid: int) -> StoredProcess | None:
    return next((row for row in held.processes if row.pid == pid and row.visible), None)


@contextlib.contextmanager
def running(
    backend: EmbeddedBackend,
    folder: Path,
    *options: str,
    config: str | None = None,
    wrap: tuple[str, ...] = (),
    environment: dict[str, str] | None = None,
    stderr: int | None = None,
) -> Iterator[RunningAgent]:
    """Run an agent until the end of the block; `folder` keeps its state, log and configuration.

    Args:
        backend: is reported to.
        folder: see above.
        options: of ``rover start``.
        config: the configuration's text.
        wrap: a command that starts the agent.
        environment: variables beside the test's own.
        stderr: a descriptor that takes the log in the file's place.
    """
    state, log = folder / "state", folder / "log"
    arguments = ["start", "--state-dir", str(state), *options]
    if config is not None:
        file = folder / "rover.yaml"
        file.write_text(config)
        arguments += ["--config", str(file)]
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [*wrap, str(ROVER), *arguments],
            env={**os.environ, "ROVER_BACKEND_ADDR": backend.address, **(environment or {})},
            stdout=sink,
            stderr=sink if stderr is None else stderr,
        )
    try:
        yield RunningAgent(process, backend, log, state)
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            sys.stderr.write(log.read_text())
            raise
        if sys.exc_info()[0]:
            sys.stderr.write(log.read_text())
