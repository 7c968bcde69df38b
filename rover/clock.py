"""The clock that the kernel dates processes by: CLOCK_BOOTTIME, in nanoseconds and in ticks."""

from __future__ import annotations

import os
import time
from typing import Final

NANOSECONDS: Final = 1_000_000_000
"""In a second."""
TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
"""Of the times in /proc (proc(5))."""
NS_PER_TICK: Final = NANOSECONDS // TICKS_PER_SECOND


def boot_clock_ns() -> int:
    """Return CLOCK_BOOTTIME, the clock of the kernel's events and of /proc/PID/stat."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
