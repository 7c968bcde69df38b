"""The structures of bpf/profile.h as the agent has them; the test suite holds both together."""

from __future__ import annotations

import ctypes
from enum import IntEnum
from typing import Final

KERNEL_FRAMES: Final = 48
USER_FRAMES: Final = 127
MAPPINGS: Final = 512
"""Executable mappings of a process."""

TARGETS: Final = 64
"""Processes sampled at once."""
ROWS: Final = 1 << 20
"""8 MB of kernel memory: node, java and 20 others at once."""
STACKS: Final = 8_192
"""Different stacks between two readings: 12 MB of kernel memory."""
STARTS: Final = 16_384
"""Threads that wait at once."""


class TargetValue(ctypes.Structure):
    """``struct rover_target``."""

    _fields_ = (
        ("mm", ctypes.c_uint64),
        ("window_ns", ctypes.c_uint64),
        ("unkept_on", ctypes.c_uint64),
        ("unkept_off", ctypes.c_uint64),
        ("unkept_ns", ctypes.c_uint64),
        ("mappings", ctypes.c_uint32),
        ("amount", ctypes.c_uint32),
        ("switches", ctypes.c_uint32),
        ("every", ctypes.c_uint32),
        ("news", ctypes.c_uint32),
        ("wanted", ctypes.c_uint16),
        ("generation", ctypes.c_uint16),
    )


class MappingValue(ctypes.Structure):
    """``struct rover_mapping``."""

    _fields_ = (
        ("start", ctypes.c_uint64),
        ("end", ctypes.c_uint64),
        ("bias", ctypes.c_uint64),
        ("first", ctypes.c_uint32),
        ("rows", ctypes.c_uint32),
    )


class StackKey(ctypes.Structure):
    """``struct rover_stack_key``."""

    _fields_ = (
        ("hash", ctypes.c_uint64),
        ("tgid", ctypes.c_uint32),
        ("generation", ctypes.c_uint16),
        ("target", ctypes.c_uint8),
        ("epoch", ctypes.c_uint8),
    )


class StackValue(ctypes.Structure):
    """``struct rover_stack``."""

    _fields_ = (
        ("count", ctypes.c_uint64),
        ("ns", ctypes.c_uint64),
        ("kernel", ctypes.c_uint16),
        ("user", ctypes.c_uint16),
        ("walk", ctypes.c_uint32),
        ("frames", ctypes.c_uint64 * (KERNEL_FRAMES + USER_FRAMES)),
    )


class StartValue(ctypes.Structure):
    """``struct rover_start``."""

    _fields_ = (
        ("at_ns", ctypes.c_uint64),
        ("stack", StackKey),
        ("weight", ctypes.c_uint32),
        ("kept", ctypes.c_uint32),
    )


class Control(ctypes.Structure):
    """``struct rover_control``."""

    _fields_ = (("epoch", ctypes.c_uint32), ("most_switches", ctypes.c_uint32))


class Sampled(IntEnum):
    """``ROVER_SAMPLED_*``: slots of the per-CPU counters."""

    ON = 0
    OFF = 1
    LOST_START = 2
    LOST_STACK = 3


class SampledValue(ctypes.Structure):
    """``struct rover_sampled`` of one CPU."""

    _fields_ = (("of", ctypes.c_uint64 * len(Sampled)),)


class Walk(IntEnum):
    """``ROVER_WALK_*``: how the walk through a user stack ended."""

    WHOLE = 1
    LIMIT = 2
    LOST = 3


ON_CPU: Final = 1
OFF_CPU: Final = 2
"""``ROVER_ON_CPU``, ``ROVER_OFF_CPU``."""
WINDOW_NS: Final = 100_000_000


def sizes() -> dict[str, int]:
    """Return what bpf/profile.c wants to be told."""
    return {
        "ROVER_TARGETS": TARGETS,
        "ROVER_ROWS": ROWS,
        "ROVER_STACKS": STACKS,
        "ROVER_STARTS": STARTS,
    }


def static_assertions() -> str:
    """Return C that compiles only where bpf/profile.h says the same as this file."""
    lines = ["#include <linux/types.h>", '#include "profile.h"']

    def hold(claim: str) -> None:
        lines.append(f'_Static_assert({claim}, "{claim}");')

    for name, mirror in (
        ("rover_target", TargetValue),
        ("rover_mapping", MappingValue),
        ("rover_stack_key", StackKey),
        ("rover_stack", StackValue),
        ("rover_start", StartValue),
        ("rover_control", Control),
        ("rover_sampled", SampledValue),
    ):
        hold(f"sizeof(struct {name}) == {ctypes.sizeof(mirror)}")
        for field, *_ in mirror._fields_:
            hold(f"__builtin_offsetof(struct {name}, {field}) == {getattr(mirror, field).offset}")
            hold(f"sizeof(((struct {name} *)0)->{field}) == {getattr(mirror, field).size}")
    for prefix, words in (("SAMPLED", Sampled), ("WALK", Walk)):
        for word in words:
            hold(f"ROVER_{prefix}_{word.name} == {word.value}")
    hold(f"ROVER_SAMPLED_SLOTS == {len(Sampled)}")
    for constant, value in (
        ("ON_CPU", ON_CPU),
        ("OFF_CPU", OFF_CPU),
        ("KERNEL_FRAMES", KERNEL_FRAMES),
        ("USER_FRAMES", USER_FRAMES),
        ("MAPPINGS", MAPPINGS),
        ("WINDOW_NS", WINDOW_NS),
    ):
        hold(f"ROVER_{constant} == {value}")
    return "\n".join(lines) + "\n"
