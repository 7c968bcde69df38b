"""The structures of bpf/process.h as the agent reads them; the test suite holds both together."""

from __future__ import annotations

import ctypes
from enum import IntEnum
from typing import Final


class PendingValue(ctypes.Structure):
    """``struct rover_pending``."""

    _fields_ = (
        ("since_ns", ctypes.c_uint64),
        ("parent", ctypes.c_uint32),
        ("kind", ctypes.c_uint16),
        ("threads", ctypes.c_uint16),
    )


class RingEvent(ctypes.Structure):
    """``struct rover_event``."""

    _fields_ = (
        ("at_ns", ctypes.c_uint64),
        ("pid", ctypes.c_uint32),
        ("kind", ctypes.c_uint32),
    )


class SlicesValue(ctypes.Structure):
    """``struct rover_slices``."""

    _fields_ = (
        ("latest", ctypes.c_uint64),
        ("met", ctypes.c_uint64),
    )


class PendingKind(IntEnum):
    """``ROVER_KIND_*``."""

    FORK = 1
    EXEC = 2


class EventKind(IntEnum):
    """``ROVER_EVENT_*``."""

    WAKE = 1
    EXIT = 2
    LEADER = 3
    THREAD = 4
    SETTLED = 5


class Armed(IntEnum):
    """``ROVER_ARMED_*``: what the agent asks to be sent."""

    FIRST = 0
    SETTLED = 1


class Counter(IntEnum):
    """``ROVER_COUNT_*``: slots of the per-CPU counters."""

    EXEC = 0
    FORK = 1
    EXIT = 2
    UNSETTLED = 3
    LOST_PENDING = 4
    LOST_EVENT = 5


class Counts(ctypes.Structure):
    """``struct rover_counts`` of one CPU; a multiple of 8 bytes, as the kernel pads them."""

    _fields_ = (("of", ctypes.c_uint64 * len(Counter)),)


FOLLOW: Final = 1
FOLLOW_THREADS: Final = 2

SLICE_SHIFT: Final = 23
"""Bits of CLOCK_BOOTTIME within a slice."""
SLICES: Final = 64

PENDING_ENTRIES: Final = 1_024
"""Processes that start within one settle time and live. A look goes through as many buckets: 16
bytes each, which on a host at rest are in no cache, so that 16,384 of them took 0.25 ms."""
OVERFLOW_ENTRIES: Final = 16_384
"""More of them, looked at while there are any: where this is full, too, it is a counted loss."""
TRACKED_ENTRIES: Final = 65_536
"""Processes followed at once; about 5 MB of kernel memory, taken at load."""
RING_PAGES: Final = 64
"""256 KiB: 10,900 exits between two looks."""


def static_assertions() -> str:
    """Return C that compiles only where bpf/process.h says the same as this file."""
    lines = ["#include <linux/types.h>", '#include "process.h"']

    def hold(claim: str) -> None:
        lines.append(f'_Static_assert({claim}, "{claim}");')

    for name, mirror in (
        ("rover_pending", PendingValue),
        ("rover_event", RingEvent),
        ("rover_slices", SlicesValue),
        ("rover_counts", Counts),
    ):
        hold(f"sizeof(struct {name}) == {ctypes.sizeof(mirror)}")
        for field, *_ in mirror._fields_:
            hold(f"__builtin_offsetof(struct {name}, {field}) == {getattr(mirror, field).offset}")
            hold(f"sizeof(((struct {name} *)0)->{field}) == {getattr(mirror, field).size}")
    for prefix, words in (
        ("KIND", PendingKind),
        ("EVENT", EventKind),
        ("ARMED", Armed),
        ("COUNT", Counter),
    ):
        for word in words:
            hold(f"ROVER_{prefix}_{word.name} == {word.value}")
    hold(f"ROVER_COUNTERS == {len(Counter)}")
    hold(f"ROVER_ARMED_WORDS == {len(Armed)}")
    hold(f"ROVER_SLICE_SHIFT == {SLICE_SHIFT}")
    hold(f"ROVER_SLICES == {SLICES}")
    hold(f"ROVER_FOLLOW == {FOLLOW}")
    hold(f"ROVER_FOLLOW_THREADS == {FOLLOW_THREADS}")
    return "\n".join(lines) + "\n"
