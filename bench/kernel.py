"""What the programs cost the kernel: ``python -m bench.kernel [--json]``.

Run time per event of each program, by the kernel's own statistics, and what all of them add to the
life of a tiny process (posix_spawn, exec and exit of /bin/true), measured in turns with and without
them on one core.
"""

from __future__ import annotations

import fcntl
import os
import statistics
import time
from dataclasses import replace

from bench.rig.figures import Figures
from bench.rig.options import options
from bench.rig.program_statistics import run_time, statistics_on
from rover.probes import libbpf, programs, settling
from rover.probes.programs import Way

# PERF_EVENT_IOC_ENABLE and _DISABLE
ENABLE, DISABLE = 0x2400, 0x2401
TURNS = 60
ROUNDS = 6
LIVES = 150
"""Tiny processes a turn."""


def lives(amount: int) -> float:
    """Seconds that a tiny process takes from its start to its end, one after the other."""
    began = time.perf_counter()
    for _ in range(amount):
        os.waitpid(os.posix_spawn("/bin/true", ["/bin/true"], {}), 0)
    return (time.perf_counter() - began) / amount


def per_event(figures: Figures) -> None:
    """Take both ways in turns, so that a drift of the machine meets them alike."""
    taken: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for way in Way:
            probes = settling.Probes(programs.load(way=way))
            with statistics_on():
                lives(1500)
                for tracepoint, descriptor in probes.loaded.programs.items():
                    spent, events = run_time(descriptor)
                    taken.setdefault(f"{tracepoint} by {way}", []).append(spent / events)
            probes.close()
    for name, times in sorted(taken.items()):
        what = f"{name}, run time an event, median of {ROUNDS}"
        figures.add(what, statistics.median(times), "ns")


class Switch:
    """Attaches and detaches programs in turns."""

    def __init__(self, loaded: programs.Programs) -> None:
        self._loaded = loaded
        self._raw: list[int] = []
        if loaded.way is Way.RAW:  # to be attached anew: raw attachments cannot be switched
            for event in loaded.events:
                os.close(event)
            self._loaded = replace(loaded, events=())

    def set(self, *, attached: bool) -> None:
        for event in self._loaded.events:
            fcntl.ioctl(event, ENABLE if attached else DISABLE, 0)
        if self._loaded.way is Way.RAW:
            for descriptor in self._raw:
                os.close(descriptor)
            self._raw = []
            for tracepoint, program in self._loaded.programs.items() if attached else ():
                name = tracepoint.partition(":")[2].encode()
                self._raw.append(libbpf.library().bpf_raw_tracepoint_open(name, program))
            assert min(self._raw, default=0) >= 0

    def close(self) -> None:
        self.set(attached=False)
        self._loaded.close()


def added(figures: Figures, way: Way) -> None:
    """Compare in turns, so that a drift of the machine meets both sides alike."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    switch = Switch(programs.load(way=way))
    lives(1000)
    ratios, bare = [], []
    for turn in range(TURNS):
        spent = {}
        for attached in (turn % 2 == 0, turn % 2 == 1):
            switch.set(attached=attached)
            spent[attached] = lives(LIVES)
        ratios.append(spent[True] / spent[False])
        bare.append(spent[False])
    switch.close()
    figures.add("life of a tiny process without programs", 1e6 * statistics.median(bare), "us")
    more = 100 * (statistics.median(ratios) - 1)
    figures.limit(f"what the programs add to it by {way}, median of turns", more, "%", 2)


def main() -> None:
    chosen = options(__doc__).parse_args()
    figures = Figures("what the programs cost the kernel", as_json=chosen.json)
    figures.start()
    per_event(figures)
    for way in Way:
        added(figures, way)
    figures.end()


if __name__ == "__main__":
    main()
