"""What the agent costs the host: itself and the child that reads for it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Collection


@dataclass(frozen=True, slots=True)
class Cost:
    """Of all the agent's processes together."""

    memory: int
    """Bytes that are resident; what two of them share counts twice."""
    cpu_seconds: float
    """Processor time since the start."""
    threads: int
    files: int
    """Open descriptors."""
    processes: int


def cost_of(pids: Collection[int]) -> Cost:
    """Ask the kernel; a process that has just ended is left out."""
    memory, seconds, threads, files, processes = 0, 0.0, 0, 0, 0
    for pid in tuple(pids):
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            with process.oneshot():
                times = process.cpu_times()
                descriptors = process.num_fds()
                memory += process.memory_info().rss
                seconds += times.user + times.system
                threads += process.num_threads()
                files += descriptors
                processes += 1
    return Cost(memory, seconds, threads, files, processes)
