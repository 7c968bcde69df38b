"""Cgroups of this host: where their tree is, how a command gets into one, memory in one."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ENTER = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


def unified() -> Path:
    """Where the cgroup v2 tree is: at the usual place, or beside v1 on a hybrid host."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    raise AssertionError("no cgroup v2 tree is mounted")


def entered(cgroup: Path, command: Sequence[str]) -> list[str]:
    """Return a command that becomes another one in a cgroup."""
    return ["/bin/sh", "-c", ENTER, str(cgroup), *command]


class MemoryCgroup:
    """A cgroup whose memory is limited and counted, of whichever version the host has."""

    def __init__(self, name: str, limit_bytes: int) -> None:
        first = Path("/sys/fs/cgroup/memory")
        self.v1 = first.is_dir()
        self.path = (first if self.v1 else unified()) / name
        if not self.v1:
            with contextlib.suppress(OSError):
                (unified() / "cgroup.subtree_control").write_text("+memory")
        self.path.mkdir()
        (self.path / ("memory.limit_in_bytes" if self.v1 else "memory.max")).write_text(
            str(limit_bytes)
        )

    def bytes(self, of_v1: str, of_v2: str) -> int:
        return int((self.path / (of_v1 if self.v1 else of_v2)).read_text())

    @property
    def peak(self) -> int:
        return self.bytes("memory.max_usage_in_bytes", "memory.peak")

    @property
    def working_set(self) -> int:
        """What the kubelet counts: usage without file pages that nobody used lately."""
        used = self.bytes("memory.usage_in_bytes", "memory.current")
        stat = dict(line.split() for line in (self.path / "memory.stat").read_text().splitlines())
        return used - int(stat["total_inactive_file" if self.v1 else "inactive_file"])

    @property
    def refusals(self) -> int:
        """How often memory was asked for beyond the limit."""
        if self.v1:
            return self.bytes("memory.failcnt", "")
        events = (self.path / "memory.events").read_text().split()
        return int(events[events.index("max") + 1])

    def entered_by(self, command: list[str]) -> list[str]:
        """Return a command that becomes this one in here."""
        return entered(self.path, command)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.path.rmdir()
