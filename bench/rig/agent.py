"""An agent as its users run it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rover.backend import EmbeddedBackend

ROVER = Path(sys.executable).with_name("rover")


@contextlib.contextmanager
def running(server: EmbeddedBackend, *options: str) -> Iterator[int]:
    """Run `rover start` until the end of the block; give its pid."""
    with tempfile.TemporaryDirectory() as folder:
        command = [str(ROVER), "start", "--state-dir", f"{folder}/state", *options]
        env = {**os.environ, "ROVER_BACKEND_ADDR": server.address}
        with started(command, Path(folder, "log"), env) as pid:
            yield pid


@contextlib.contextmanager
def started(
    command: Sequence[str], log: Path, env: Mapping[str, str] | None = None
) -> Iterator[int]:
    """Run what becomes an agent until the end of the block; give its pid.

    Raises:
        RuntimeError: it ended with a failure; standard error has its log.
    """
    with log.open("wb") as sink:
        process = subprocess.Popen(command, env=env, stdout=sink, stderr=sink)
    try:
        yield process.pid
    finally:
        process.terminate()
        if process.wait(10):
            sys.stderr.write(log.read_text(errors="replace"))
            raise RuntimeError(f"the agent ended with {process.returncode}")
