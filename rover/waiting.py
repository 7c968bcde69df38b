"""How long a thread may wait for an answer: little for one, and little for all together."""

from __future__ import annotations

from typing import Final

ONE_S: Final = 0.05
"""Seconds for one answer at most."""
ALL_S: Final = 0.25
"""Seconds for all of them that follow on each other."""
SHARE: Final = 0.02
"""Of the time that passes, what may be waited again."""


class Budget:
    """Seconds of waiting that are left; they come back slowly."""

    def __init__(self, now: float) -> None:
        self._left = ALL_S
        self._at = now

    def left(self, now: float) -> float:
        """Return how long the next answer may be waited for."""
        self._left = min(ALL_S, self._left + max(0.0, now - self._at) * SHARE)
        self._at = now
        return min(ONE_S, self._left)

    def spend(self, seconds: float) -> None:
        """Take off what was waited."""
        self._left = max(0.0, self._left - seconds)
