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
    from collections.abc import Iterator

    from rover.backend import EmbeddedBackend

ROVER = Path(sys.executable).with_name("rover")


@contextlib.contextmanager
def running(server: EmbeddedBackend, *options: str) -> Iterator[int]:
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
