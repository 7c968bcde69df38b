"""An agent as its users run it."""

from __future__ import annotations

import compileall
import contextlib
import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import rover

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rover.backend import EmbeddedBackend

ROVER = Path(sys.executable).with_name("rover")
PACKAGE = Path(rover.__file__).parent


def environment(server: EmbeddedBackend) -> dict[str, str]:
    """Give the variables of an agent where it is installed, with its modules compiled.

    A developer's PYTHONDONTWRITEBYTECODE would have them compiled at each start.
    """
    _compile()
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return own | {"ROVER_BACKEND_ADDR": server.address}


@functools.cache
def _compile() -> None:
    compileall.compile_dir(PACKAGE, quiet=1)


@contextlib.contextmanager
def running(server: EmbeddedBackend, *options: str) -> Iterator[int]:
    """Run `rover start` until the end of the block; give its pid."""
    with tempfile.TemporaryDirectory() as folder:
        command = [str(ROVER), "start", "--state-dir", f"{folder}/state", *options]
        with started(command, Path(folder, "log"), environment(server)) as pid:
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
