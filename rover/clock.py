"""The clock that the kernel dates processes by: CLOCK_BOOTTIME, in nanoseconds and in ticks.

Always the host's. In a time namespace (time_namespaces(7)) the clock that a program reads, and the
start times that /proc shows it, are shifted; those in the events of eBPF programs are not. So what
is read is shifted back, and all times of the agent are of one clock.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

NANOSECONDS: Final = 1_000_000_000
"""In a second."""
TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
"""Of the times in /proc (proc(5))."""
NS_PER_TICK: Final = NANOSECONDS // TICKS_PER_SECOND
_OWN: Final = Path("/proc/self")
_WRAP: Final = 1 << 64
"""The kernel reckons without sign: what started before a namespace's time zero is shown as huge."""


def boot_offset_ns(text: str) -> int:
    """Return how far CLOCK_BOOTTIME is ahead of the host's, by /proc/PID/timens_offsets.

    Raises:
        ValueError: the text is not of such a file.
    """
    for line in text.splitlines():
        clock, *offset = line.split()
        if clock in {"boottime", "7"}:  # its number, in the first kernels that had the file
            seconds, nanoseconds = offset
            return int(seconds) * NANOSECONDS + int(nanoseconds)
    raise ValueError(f"no line of boottime: {text[:80]!r}")


def _own_offset_ns() -> int:
    """Read the offset of this process; 0 where the kernel has no time namespaces."""
    try:
        # the file tells of what children will be in, which before Linux 6.1 may be another
        if _OWN.joinpath("ns/time").readlink() != _OWN.joinpath("ns/time_for_children").readlink():
            return 0
        return boot_offset_ns(_OWN.joinpath("timens_offsets").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


BOOT_OFFSET_NS: Final = _own_offset_ns()
"""How far this process's clock is ahead of the host's."""


def boot_clock_ns() -> int:
    """Return the host's CLOCK_BOOTTIME, the clock of the kernel's events."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - BOOT_OFFSET_NS


def host_ticks(shown: int, offset_ns: int = BOOT_OFFSET_NS) -> int:
    """Return the host's tick for one that /proc/PID/stat shows to this process."""
    if not offset_ns:
        return shown
    latest = shown * NS_PER_TICK + NS_PER_TICK - 1  # in that tick: never before the host's start
    return (latest - offset_ns) % _WRAP // NS_PER_TICK
