"""Reading one process in /proc: ``python -m bench.reading [--json]``.

Our reader against psutil's oneshot with the same facts, in turns on the same process; and what it
costs that the child reads the command line and TMPDIR, as in an agent.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

import psutil

from bench.rig import sleepers
from bench.rig.figures import Figures
from bench.rig.options import options
from rover.discovery.procfs import AHEAD, ProcReader
from rover.foreign.reads import ForeignReads

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


def by_the_child(figures: Figures, processes: list[int]) -> None:
    """One by one as processes start, and many together as at the first scan."""
    reads = ForeignReads()
    reads.start()
    reader = ProcReader(strings=reads, with_place=True)
    while reader.read(processes[0]).late:
        pass
    child = psutil.Process(reads.child_pid)
    for name, together in (("one by one", 1), (f"{AHEAD} together", AHEAD)):
        pids = processes[:together]
        ours, wall, theirs = time.process_time(), time.monotonic(), sum(child.cpu_times()[:2])
        for _ in range(TURNS * READS // together):
            reader.ahead(pids)
            for each in pids:
                reader.read(each)
        done = TURNS * READS // together * together
        parts = {
            "the agent": time.process_time() - ours,
            "the child": sum(child.cpu_times()[:2]) - theirs,
            "time until read": time.monotonic() - wall,
        }
        for part, seconds in parts.items():
            figures.add(f"with the child, {name}: {part}", 1e6 * seconds / done, "us")
    memory = child.memory_full_info()
    figures.add("the child: PSS", memory.pss / 2**20, "MB")
    figures.add("the child: its own (USS)", memory.uss / 2**20, "MB")
    reads.stop()


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
    with sleepers.running(AHEAD) as group:
        by_the_child(figures, group.pids)
    figures.end()


if __name__ == "__main__":
    main()
