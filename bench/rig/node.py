"""A node's processes: real ones, in real cgroups of this host named as a node's are."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path
from typing import Self

ENTER = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


def unified() -> Path:
    """Where the cgroup v2 tree is: at the usual place, or beside v1 on a hybrid host."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    raise AssertionError("no cgroup v2 tree is mounted")


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
        process = subprocess.Popen(["/bin/sh", "-c", ENTER, str(place), *command], **how)
        self.started.append(process)
        return process.pid

    def close(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()
        for folder in reversed(self.made):
            with contextlib.suppress(OSError):  # others may have put something below it meanwhile
                folder.rmdir()
