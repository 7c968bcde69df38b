"""What the programs cost the kernel: ``python -m bench.kernel [--json]``.

Run time per event of each program, by the kernel's own statistics, and what all of them add to the
life of a tiny process (posix_spawn, exec and exit of /bin/true), measured in turns with and without
them on one core.
"""

from __future__ import annotations

import ctypes
import os
import statistics
import time
from dataclasses import replace

from bench.rig.figures import Figures
from bench.rig.options import options
from bench.rig.program_statistics import run_time, statistics_on
from rover.probes import libbpf, programs, settling, tracefs
from rover.probes.programs import Way

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
    """Attaches and detaches programs, wholly: a perf event that is switched off is still met."""

    def __init__(self, way: Way) -> None:
        loaded = programs.load(way=way)
        self._attach = _raw if way is Way.RAW else _by_perf_events
        for event in loaded.events:
            os.close(event)
        self._loaded = replace(loaded, events=())
        self._attached: list[int] = []

    def set(self, *, attached: bool) -> None:
        for descriptor in self._attached:
            os.close(descriptor)
        given = self._loaded.programs.items() if attached else ()
        self._attached = [
            self._attach(*tracepoint.split(":"), program) for tracepoint, program in given
        ]
        assert min(self._attached, default=0) >= 0

    def close(self) -> None:
        self.set(attached=False)
        self._loaded.close()


def _raw(_category: str, name: str, program: int) -> int:
    return libbpf.library().bpf_raw_tracepoint_open(name.encode(), program)


def _by_perf_events(category: str, name: str, program: int) -> int:
    tracefs.find(ctypes.CDLL(None, use_errno=True))  # mounted for this process where it is not
    attach = ctypes.CDLL("libbcc.so.0").bpf_attach_tracepoint
    return attach(program, category.encode(), name.encode())


def added(figures: Figures) -> None:
    """Compare in turns, so that a drift of the machine meets all sides alike."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    switches = {way: Switch(way) for way in Way}
    lives(1000)
    bare, more = [], {way: [] for way in Way}
    for _ in range(TURNS):
        bare.append(lives(LIVES))
        for way, switch in switches.items():
            switch.set(attached=True)
            lives(LIVES // 10)  # the kernel has just changed its own code
            more[way].append(lives(LIVES) / bare[-1])
            switch.set(attached=False)
    for switch in switches.values():
        switch.close()
    figures.add("life of a tiny process without programs", 1e6 * statistics.median(bare), "us")
    for way, ratios in more.items():
        percent = 100 * (statistics.median(ratios) - 1)
        figures.limit(f"what the programs add to it by {way}, median of turns", percent, "%", 2)


def main() -> None:
    chosen = options(__doc__).parse_args()
    figures = Figures("what the programs cost the kernel", as_json=chosen.json)
    figures.start()
    per_event(figures)
    added(figures)
    figures.end()


if __name__ == "__main__":
    main()
