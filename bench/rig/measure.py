"""What all benches share: the cost of a tree of processes, figures as a table and as JSON."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Sequence

TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """What a process and its children have used so far."""

    at: float
    cpu: float
    """Seconds of CPU, ended children included."""
    rss: int
    """Bytes, children included; shared pages count in each."""
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
    cpu, rss, threads, descriptors, processes = 0.0, 0, 0, 0, 0
    for process in tree(pid):
        processes += 1
        cpu += cpu_seconds(process.pid)
        rss += process.memory_info().rss
        threads += process.num_threads()
        descriptors += process.num_fds()
    return Cost(time.monotonic(), cpu, rss, threads, descriptors, processes)


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


def slope(samples: Sequence[Cost]) -> tuple[float, float]:
    """Fit a line to the memory by least squares.

    Returns:
        MB an hour and its standard error; a trend within twice of that is noise.
    """
    times = [sample.at for sample in samples]
    sizes = [sample.rss / 2**20 for sample in samples]
    at, size = statistics.mean(times), statistics.mean(sizes)
    spreading = sum((t - at) ** 2 for t in times)
    trend = sum((t - at) * (s - size) for t, s in zip(times, sizes, strict=True)) / spreading
    rests = [s - size - trend * (t - at) for t, s in zip(times, sizes, strict=True)]
    error = math.sqrt(sum(rest**2 for rest in rests) / max(1, len(rests) - 2) / spreading)
    return 3600 * trend, 3600 * error


def quantile(values: Sequence[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[math.ceil(part * len(ordered)) - 1]


def spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "p50": statistics.median(values),
        "p99": quantile(values, 0.99),
        "max": max(values),
    }


def machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}"
    )


class Figures:
    """Rows of a bench, printed as a table or, with --json, as one object."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.rows: list[dict[str, Any]] = []

    def add(
        self, what: str, value: float, unit: str, aim: str = "", *, met: bool | None = None
    ) -> None:
        self.rows.append({"what": what, "value": value, "unit": unit, "aim": aim, "met": met})
        if "--json" not in sys.argv:
            verdict = {True: "met", False: "NOT MET", None: ""}[met]
            print(f"{what:<58} {value:>10.4g} {unit:<10} {aim:<14} {verdict}", flush=True)

    def start(self) -> None:
        if "--json" not in sys.argv:
            print(f"\n{self.title}\n{machine()}, {time.strftime('%Y-%m-%d')}")

    def end(self) -> None:
        if "--json" in sys.argv:
            print(
                json.dumps({"bench": self.title, "machine": machine(), "rows": self.rows}, indent=1)
            )


def limit(figures: Figures, what: str, value: float, unit: str, at_most: float) -> None:
    """Add a figure with its aim."""
    figures.add(what, value, unit, f"<= {at_most:g}", met=value <= at_most)
