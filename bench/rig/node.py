"""A node's processes: real ones, in real cgroups of this host named as a node's are."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING, Self

from bench.rig.cgroup import entered, unified

if TYPE_CHECKING:
    from pathlib import Path


class Node:
    """Starts processes and ends them; a context manager."""

    def __init__(self) -> None:
        self.tree = unified()
        self.made: list[Path] = []
        self.started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, cgroup: str, *command: str, **how: object) -> int:
        """Start a program in a cgroup; return its pid."""
        place = self.tree / cgroup.lstrip("/")
        for folder in reversed([place, *place.parents]):
            if folder.is_relative_to(self.tree) and not folder.exists():
                folder.mkdir()
                self.made.append(folder)
        process = subprocess.Popen(entered(place, command), **how)
        self.started.append(process)
        return process.pid

    def end_last(self) -> None:
        """End the one that was started last."""
        process = self.started.pop()
        process.kill()
        process.wait()

    def close(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()
        for folder in reversed(self.made):
            with contextlib.suppress(OSError):  # others may have put something below it meanwhile
                folder.rmdir()
