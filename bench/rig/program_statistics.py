"""The kernel's own statistics of eBPF programs: how often each ran, and for how long."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

from rover.probes import libbpf

RUN_TIME = 0
"""BPF_STATS_RUN_TIME of include/uapi/linux/bpf.h."""


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
    """Have the kernel keep them until the end of the block; each run costs some more then."""
    descriptor = libbpf.library().bpf_enable_stats(RUN_TIME)
    if descriptor < 0:
        raise OSError("bpf_enable_stats: needs CAP_SYS_ADMIN and Linux 5.8")
    try:
        yield
    finally:
        os.close(descriptor)


def run_time(descriptor: int) -> tuple[int, int]:
    """Return a program's nanoseconds and runs since they were kept."""
    info, size = ProgramInfo(), ctypes.c_uint32(ctypes.sizeof(ProgramInfo))
    libbpf.library().bpf_obj_get_info_by_fd(descriptor, ctypes.byref(info), ctypes.byref(size))
    return info.run_time_ns, info.run_cnt
