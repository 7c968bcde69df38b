"""Give memory back to the system once it is no longer needed.

glibc returns whole free pages from anywhere in its heap, but only when asked (malloc_trim(3)).
"""

from __future__ import annotations

import ctypes
import gc
import logging
from functools import cache
from typing import TYPE_CHECKING, Final

from rover import file_pages

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("rover.heap")

LEAST_GONE: Final = 1_000
"""Processes that must have gone before it is worth a look: a megabyte or so."""

NOTES: Final = 10
"""Notes after which memory is given back in any case: five minutes, as often as it is called."""


def settle() -> None:
    """Give back what the start needed, and look no more at what it left for cycles."""
    give_back()
    gc.freeze()
    file_pages.give_back()


def give_back() -> None:
    """Free what only cycles hold, and return all free pages; some milliseconds."""
    gc.collect()
    if trim := _malloc_trim():
        trim(0)


class PeakRelease:
    """Gives memory back after a flood of processes has gone, and what trickles, now and then."""

    def __init__(self) -> None:
        self._highest = 0
        self._notes = 0

    def note(self, processes: int) -> None:
        """Take note of how many processes are known now; called now and then."""
        self._highest = max(self._highest, processes)
        self._notes += 1
        ebbed = self._highest - processes >= max(LEAST_GONE, processes)
        if ebbed or self._notes >= NOTES:
            self._notes = 0
            log.debug("memory given back processes=%d at_most=%d", processes, self._highest)
            self._highest = processes
            give_back()


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim
