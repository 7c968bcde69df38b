"""Reading one process in /proc: ``python -m bench.reading [--json]``.

Our reader against psutil's oneshot with the same facts, in turns on the same process.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

import psutil

from bench.rig.figures import Figures
from bench.rig.options import options
from rover.discovery.procfs import ProcReader

TURNS, READS = 15, 400


def by_psutil(pid: int) -> None:
    process = psutil.Process(pid)
    with process.oneshot():
        process.create_time()
        process.ppid()
        process.name()
        process.exe()
        process.cmdline()
        process.cwd()
        process.uids()


def microseconds(read: Callable[[int], object], pid: int) -> float:
    began = time.process_time()
    for _ in range(READS):
        read(pid)
    return 1e6 * (time.process_time() - began) / READS


def main() -> None:
    chosen = options(__doc__).parse_args()
    figures = Figures("reading one process, CPU", as_json=chosen.json)
    figures.start()
    reader, pid = ProcReader(), os.getpid()
    ours, theirs, stats = [], [], []
    for _ in range(TURNS):
        ours.append(microseconds(reader.read, pid))
        theirs.append(microseconds(by_psutil, pid))
        stats.append(microseconds(reader.stat, pid))
    figures.add("all facts and cgroup and namespaces, our reader", statistics.median(ours), "us")
    figures.add("the facts alone, psutil's oneshot", statistics.median(theirs), "us")
    figures.add("whether it is the same process (stat)", statistics.median(stats), "us")
    figures.end()


if __name__ == "__main__":
    main()
