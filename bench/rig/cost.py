"""What a tree of processes has used so far: CPU, memory, threads, descriptors."""

from __future__ import annotations

import contextlib
import math
import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

GRPCS_POOL = "event_engine"
"""Threads that gRPC starts and ends as it has work; they are not counted."""


@dataclass(frozen=True)
class Cost:
    """What a process and its children have used so far."""

    at: float
    cpu: float
    """Seconds of CPU, ended children included."""
    rss: int
    """Bytes, children included; shared pages count in each."""
    anonymous: int
    """Of these what lies in no file: the kernel cannot take it back, and what leaks is in it."""
    threads: int
    descriptors: int
    processes: int


def tree(pid: int) -> list[psutil.Process]:
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def cost(pid: int) -> Cost:
    """Look at a process and its children; works on any agent's pid.

    CPU is the scheduler's own sum in nanoseconds (/proc/PID/task/*/schedstat) where the kernel
    keeps it: clock ticks are too coarse for an agent that sleeps.
    """
    cpu, rss, anonymous, threads, descriptors, processes = 0.0, 0, 0, 0, 0, 0
    for process in tree(pid):
        processes += 1
        cpu += cpu_seconds(process.pid)
        memory = process.memory_info()
        rss += memory.rss
        anonymous += memory.rss - memory.shared
        threads += sum(name != GRPCS_POOL for name in thread_names(process.pid))
        descriptors += process.num_fds()
    return Cost(time.monotonic(), cpu, rss, anonymous, threads, descriptors, processes)


def thread_names(pid: int) -> list[str]:
    names = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # it has ended
            names.append((task / "comm").read_text().rstrip())
    return names


def cpu_seconds(pid: int) -> float:
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            times = psutil.Process(pid).cpu_times()
            return times.user + times.system
    return total / 1e9


def share(before: Cost, after: Cost) -> float:
    """Percent of one core between two looks."""
    return 100 * (after.cpu - before.cpu) / (after.at - before.at)


def share_over(pid: int, seconds: float) -> float:
    """Percent of one core, from now on for a while."""
    before = cost(pid)
    time.sleep(seconds)
    return share(before, cost(pid))


def resident() -> int:
    """Bytes of this process alone."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def slope(samples: Sequence[Cost], of: Callable[[Cost], int]) -> tuple[float, float]:
    """Fit a line to the memory by least squares.

    Args:
        samples: looks, in order.
        of: takes the bytes of a look.

    Returns:
        MB an hour and its standard error; a trend within twice of that is noise.
    """
    times = [sample.at for sample in samples]
    sizes = [of(sample) / 2**20 for sample in samples]
    at, size = statistics.mean(times), statistics.mean(sizes)
    spreading = sum((t - at) ** 2 for t in times)
    trend = sum((t - at) * (s - size) for t, s in zip(times, sizes, strict=True)) / spreading
    rests = [s - size - trend * (t - at) for t, s in zip(times, sizes, strict=True)]
    error = math.sqrt(sum(rest**2 for rest in rests) / max(1, len(rests) - 2) / spreading)
    return 3600 * trend, 3600 * error
