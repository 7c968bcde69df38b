"""How long a read was held up: neither computing nor waiting for a processor."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

LEAST_S: Final = 0.1
"""Seconds from which on it is told. Where a host is overloaded, a process that has its own memory's
lock waits for a processor for some tens of milliseconds, and whoever reads of it waits with it."""
_SCHEDSTAT: Final = "/proc/thread-self/schedstat"
"""Nanoseconds that the thread ran, and that it waited for a processor (proc(5))."""
_SCHEDSTAT_BYTES: Final = 128


class Pace:
    """Measures one read after the other, in one thread; two clocks are asked for each.

    What the process's other thread computes meanwhile counts as if this one did: where both wait
    for the interpreter, nobody is blamed.
    """

    def __init__(self) -> None:
        self._queued = _queued_ns()
        self._computed = self._began = 0.0

    def begin(self) -> None:
        """Begin with a read."""
        self._began, self._computed = time.monotonic(), time.process_time()

    def held_up(self) -> float:
        """Return the seconds for which the read that began last was held up, 0 for few."""
        computed = time.process_time() - self._computed
        waited = time.monotonic() - self._began - computed
        if waited < LEAST_S:
            return 0.0
        queued, self._queued = self._queued, _queued_ns()
        # since the last such read: that may be more than in this one, in favour of who is read
        waited -= (self._queued - queued) / 1e9
        return waited if waited >= LEAST_S else 0.0


def _queued_ns() -> int:
    try:
        descriptor = os.open(_SCHEDSTAT, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return int(os.read(descriptor, _SCHEDSTAT_BYTES).split()[1])
        finally:
            os.close(descriptor)
    except (OSError, IndexError, ValueError):  # a kernel without it: CONFIG_SCHED_INFO
        return 0
