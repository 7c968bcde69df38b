"""How closely the turns of the discovery thread follow each other."""

from __future__ import annotations

import math
from typing import Final

LEAST_S: Final = 0.025
"""Seconds between two turns at least, however much happens."""
BUSY_S: Final = 0.075
"""The same where much has come for a while: what comes meanwhile shares a turn, its reads and its
report. It is later by 50 ms at most."""
BUSY_TURNS: Final = 8.0
"""Turns a second that found something, from which on it is much."""
_MEMORY_S: Final = 1.0


class Tempo:
    """Counts the turns that found something, by a sum that fades within a second or two."""

    def __init__(self) -> None:
        """Begin at rest."""
        self._turns = 0.0
        self._at = 0.0

    def note(self, now: float, *, found: bool) -> float:
        """Take note of a turn; return the seconds to the next at least.

        Args:
            now: time.monotonic() of the turn.
            found: whether anything had come or gone.
        """
        self._turns *= math.exp((self._at - now) / _MEMORY_S)
        self._turns += found
        self._at = now
        return BUSY_S if self._turns > BUSY_TURNS else LEAST_S
