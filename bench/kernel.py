"""What the programs cost the kernel: ``python -m bench.kernel [--json]``.

Run time per event of each program, by the kernel's own statistics, and what all of them add to the
life of a tiny process (posix_spawn, exec and exit of /bin/true), measured in turns with and without
them on one core.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import statistics
import time
from collections.abc import Iterator

from bench.rig.figures import Figures
from bench.rig.options import options
from rover.probes import libbpf, programs, settling

RUN_TIME = 0
"""BPF_STATS_RUN_TIME of include/uapi/linux/bpf.h."""
# PERF_EVENT_IOC_ENABLE and _DISABLE
ENABLE, DISABLE = 0x2400, 0x2401
TURNS = 60
LIVES = 150
"""Tiny processes a turn."""


class ProgramInfo(ctypes.Structure):
    """The beginning of struct bpf_prog_info; run time and count stand at fixed offsets."""

    _fields_ = (
        ("before", ctypes.c_char * 192),
        ("run_time_ns", ctypes.c_uint64),
        ("run_cnt", ctypes.c_uint64),
        ("after", ctypes.c_char * 32),
    )


@contextlib.contextmanager
def statistics_on() -> Iterator[None]:
    descriptor = libbpf.library().bpf_enable_stats(RUN_TIME)
    if descriptor < 0:
        raise OSError("bpf_enable_stats: needs CAP_SYS_ADMIN and Linux 5.8")
    try:
        yield
    finally:
        os.close(descriptor)


def run_time(descriptor: int) -> tuple[int, int]:
    info, size = ProgramInfo(), ctypes.c_uint32(ctypes.sizeof(ProgramInfo))
    libbpf.library().bpf_obj_get_info_by_fd(descriptor, ctypes.byref(info), ctypes.byref(size))
    return info.run_time_ns, info.run_cnt


def lives(amount: int) -> float:
    """Seconds that a tiny process takes from its start to its end, one after the other."""
    began = time.perf_counter()
    for _ in range(amount):
        os.waitpid(os.posix_spawn("/bin/true", ["/bin/true"], {}), 0)
    return (time.perf_counter() - began) / amount


def per_event(figures: Figures) -> None:
    probes = settling.Probes(programs.load())
    with statistics_on():
        lives(3000)
        for tracepoint, descriptor in probes.loaded.programs.items():
            spent, events = run_time(descriptor)
            figures.add(f"{tracepoint}, run time an event ({events} events)", spent / events, "ns")
    probes.close()


def added(figures: Figures) -> None:
    """Compare in turns, so that a drift of the machine meets both sides alike."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    probes = settling.Probes(programs.load())
    lives(1000)
    ratios, bare = [], []
    for turn in range(TURNS):
        spent = {}
        for attached in (turn % 2 == 0, turn % 2 == 1):
            for event in probes.loaded.events:
                fcntl.ioctl(event, ENABLE if attached else DISABLE, 0)
            spent[attached] = lives(LIVES)
        ratios.append(spent[True] / spent[False])
        bare.append(spent[False])
    probes.close()
    figures.add("life of a tiny process without programs", 1e6 * statistics.median(bare), "us")
    more = 100 * (statistics.median(ratios) - 1)
    figures.limit("what the programs add to it, median of turns", more, "%", 2)


def main() -> None:
    chosen = options(__doc__).parse_args()
    figures = Figures("what the programs cost the kernel", as_json=chosen.json)
    figures.start()
    per_event(figures)
    added(figures)
    figures.end()


if __name__ == "__main__":
    main()
