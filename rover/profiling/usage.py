"""What processes use now, as the kernel counts it: CPU time and threads, and the host's load."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from rover.clock import TICKS_PER_SECOND, host_ticks

if TYPE_CHECKING:
    from rover.model import ProcessKey

# fields of /proc/PID/stat after the name (proc(5)), from field 3 on
_UTIME: Final = 11
_STIME: Final = 12
_THREADS: Final = 17
_START: Final = 19


class Usage(NamedTuple):
    """What a process has used until now."""

    cpu_seconds: float
    """Of all its threads, since its start."""
    threads: int


def usage(key: ProcessKey, proc: str = "/proc") -> Usage | None:
    """Read what a process uses; None where it has ended."""
    try:
        fields = _stat_fields(key.pid, proc)
        if host_ticks(int(fields[_START])) != key.start_ticks:
            return None
        ticks = int(fields[_UTIME]) + int(fields[_STIME])
        return Usage(ticks / TICKS_PER_SECOND, int(fields[_THREADS]))
    except (OSError, ValueError, IndexError):
        return None


def start_ticks(pid: int) -> int:
    """Return when a process started, in ticks after boot as /proc shows it (proc(5), field 22).

    Raises:
        OSError: there is none.
        ValueError, IndexError: /proc says what it should not.
    """
    return int(_stat_fields(pid, "/proc")[_START])


def _stat_fields(pid: int, proc: str) -> list[bytes]:
    return Path(proc, str(pid), "stat").read_bytes().rpartition(b")")[2].split()


def system_load() -> float:
    """Return the load of the last minute."""
    return os.getloadavg()[0]
