"""An agent as its users run it, on the embedded backend, among processes of the bench's own."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rover.backend import EmbeddedBackend

if TYPE_CHECKING:
    from collections.abc import Iterator

ROVER = Path(sys.executable).with_name("rover")
PREFIX = f"nap{os.getpid()}-"
"""Of all programs that this process makes: another one beside it has entities of its own. Short
enough for the kernel to keep the whole name, as it does of most programs."""


_NUMBERS = itertools.count(1)


class Sleepers:
    """Processes that sleep, each with an executable and so an entity of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._program = folder / "sleep"
        shutil.copy("/bin/sleep", self._program)
        self.pids: list[int] = []

    def next_program(self) -> Path:
        """Make an executable with a name that none had before."""
        path = self._folder / f"{PREFIX}{next(_NUMBERS)}"
        path.hardlink_to(self._program)
        return path

    def start(self, path: Path | None = None) -> int:
        """Start one, of a new name where no program is given; return its pid. Takes some 300 us."""
        path = path or self.next_program()
        pid = os.posix_spawn(path, [str(path), "3600"], {})
        self.pids.append(pid)
        return pid

    def end(self, pid: int) -> None:
        """End one of them."""
        self.pids.remove(pid)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    def stop(self) -> None:
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
        for pid in self.pids:
            os.waitpid(pid, 0)
        self.pids.clear()


@contextlib.contextmanager
def sleepers(amount: int = 0) -> Iterator[Sleepers]:
    with tempfile.TemporaryDirectory() as folder:
        group = Sleepers(Path(folder))
        try:
            for _ in range(amount):
                group.start()
            yield group
        finally:
            group.stop()


@contextlib.contextmanager
def backend() -> Iterator[EmbeddedBackend]:
    with EmbeddedBackend() as server:
        yield server


@contextlib.contextmanager
def agent(server: EmbeddedBackend, *options: str) -> Iterator[int]:
    """Run `rover start` until the end of the block; give its pid."""
    with tempfile.TemporaryDirectory() as state, tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [ROVER, "start", "--state-dir", state, *options],
            env={**os.environ, "ROVER_BACKEND_ADDR": server.address},
            stderr=log,
            stdout=log,
        )
        try:
            yield process.pid
        finally:
            process.terminate()
            status = process.wait(10)
            if status:
                log.seek(0)
                sys.stderr.write(log.read().decode())
                raise RuntimeError(f"the agent ended with {status}")


def accepted(server: EmbeddedBackend) -> dict[int, float]:
    """Return when each pid was first accepted, as time.monotonic()."""
    return {pid: stamp.monotonic for (pid, _), stamp in server.state.times().items()}


def wait_for_pids(server: EmbeddedBackend, pids: set[int], timeout: float = 60) -> dict[int, float]:
    """Wait until all pids are accepted, by looking: a snapshot at every change would cost more."""
    deadline = time.monotonic() + timeout
    while missing := pids - (seen := accepted(server)).keys():
        if time.monotonic() > deadline:
            raise TimeoutError(
                f"{len(missing)} of {len(pids)} pids not accepted: {sorted(missing)[:9]}"
            )
        time.sleep(0.1)
    return seen
