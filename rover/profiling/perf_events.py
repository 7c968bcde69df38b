"""Ticks of the CPU clock: one perf event a CPU, each of which runs a program."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import logging
import os
import platform
import struct
from pathlib import Path
from typing import Final

from rover.errors import ProbeError
from rover.probes import refusals

log = logging.getLogger("rover.profiling")

ONLINE: Final = Path("/sys/devices/system/cpu/online")

# include/uapi/linux/perf_event.h
_TYPE_SOFTWARE: Final = 1
_CPU_CLOCK: Final = 0
_DISABLED: Final = 1 << 0
_EXCLUDE_IDLE: Final = 1 << 7
_FLAG_CLOEXEC: Final = 8
_SET_BPF: Final = 0x40042408
_ENABLE: Final = 0x2400
_COUNT_BYTES: Final = 8
_SOME_PERIOD_NS: Final = 10_000_000
_ATTRIBUTES: Final = struct.Struct("=IIQQQQQ")
"""type, size, config, period, kind of sample, format, flags; the rest is 0."""


class CpuClock:
    """A program run each period on each CPU, for as long as this is open."""

    def __init__(self, program: int, period_ns: int) -> None:
        """Open the events of all CPUs that are online.

        Raises:
            ProbeError: the kernel does not allow it; the message says what to do.
        """
        self._program = program
        self._period_ns = period_ns
        self._events: dict[int, int] = {}
        self._counted: dict[int, bytes] = {}
        """What each event had counted when it was looked at last: nanoseconds, never the same."""
        try:
            self.follow_cpus()
        except BaseException:
            self.close()
            raise
        if not self._events:
            raise ProbeError("no CPU takes a perf event")

    def follow_cpus(self) -> None:
        """Open events for CPUs that have come, close those of CPUs that have gone.

        The event of one that has gone and come back ticks no longer.

        Raises:
            ProbeError: as above.
        """
        online = cpus_of(ONLINE.read_text(encoding="ascii"))
        for cpu in list(self._events):
            counted = os.read(self._events[cpu], _COUNT_BYTES)
            if cpu not in online or counted == self._counted.get(cpu):
                os.close(self._events.pop(cpu))
                self._counted.pop(cpu, None)
            else:
                self._counted[cpu] = counted
        for cpu in online - self._events.keys():
            try:
                self._events[cpu] = self._open(cpu)
            except OSError as error:
                if error.errno in {errno.ENODEV, errno.ENXIO}:  # gone again
                    continue
                raise ProbeError(_refused(error)) from error

    def close(self) -> None:
        """Let all events go."""
        while self._events:
            os.close(self._events.popitem()[1])

    def _open(self, cpu: int) -> int:
        event = _opened(cpu, self._period_ns)
        try:
            fcntl.ioctl(event, _SET_BPF, self._program)
            fcntl.ioctl(event, _ENABLE, 0)
        except OSError:
            os.close(event)
            raise
        return event


def clock_refused() -> str:
    """Say why ticks of the CPU clock cannot be had; empty where they can."""
    try:
        first = min(cpus_of(ONLINE.read_text(encoding="ascii")))
        os.close(_opened(first, _SOME_PERIOD_NS))
    except (OSError, ValueError) as error:
        return _refused(error) if isinstance(error, OSError) else str(error)
    return ""


def _opened(cpu: int, period_ns: int) -> int:
    """Open the event of a CPU, which does not tick yet.

    Raises:
        OSError: the kernel does not allow it.
    """
    attributes = bytearray(refusals.PERF_ATTRIBUTE_BYTES)
    _ATTRIBUTES.pack_into(
        attributes,
        0,
        _TYPE_SOFTWARE,
        len(attributes),
        _CPU_CLOCK,
        period_ns,
        0,
        0,
        _DISABLED | _EXCLUDE_IDLE,
    )
    number = refusals.SYSTEM_CALLS[platform.machine()]["perf_event_open"]
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = (ctypes.c_char * len(attributes)).from_buffer(attributes)
    event: int = libc.syscall(
        number, ctypes.byref(buffer), -1, cpu, -1, ctypes.c_ulong(_FLAG_CLOEXEC)
    )
    if event < 0:
        failed = ctypes.get_errno()
        raise OSError(failed, os.strerror(failed))
    return event


def _refused(error: OSError) -> str:
    forbidden = refusals.forbidden_calls()
    if "perf_event_open" in forbidden:
        paranoid = int(refusals.PARANOID.read_text()) if refusals.PARANOID.exists() else 0
        return f"perf events are refused: {error.strerror}; {refusals.policy(forbidden, paranoid)}"
    return f"perf events are refused: {error.strerror}"


def cpus_of(text: str) -> set[int]:
    """Return the numbers of a list such as `0-3,6` (cpulist of the kernel).

    Raises:
        ValueError: it is none.
    """
    found: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if part:
            found.update(range(int(first), int(last or first) + 1))
    return found
