"""Processes of the bench's own that sleep, each with an executable and so an entity of its own."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

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
def running(amount: int = 0) -> Iterator[Sleepers]:
    """Let so many run, and those that are started in the block, until its end."""
    with tempfile.TemporaryDirectory() as folder:
        group = Sleepers(Path(folder))
        try:
            for _ in range(amount):
                group.start()
            yield group
        finally:
            group.stop()
