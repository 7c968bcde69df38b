"""Keeps a thread to a share of one core, whatever there is to do."""

from __future__ import annotations

from typing import Final

SHARE: Final = 0.05
"""Of one core, for all that a listener's thread does in the long run."""
CREDIT: Final = 0.1
"""Seconds of processor time that may be saved up, for what comes at once."""
LONGEST_REST: Final = 0.05
"""Seconds that the thread rests at most after a round, for the sake of that share."""


class Share:
    """What is left of the processor time that the thread earns by the second."""

    def __init__(self, now: float) -> None:
        self._left = CREDIT
        self._at = now

    def spend(self, seconds: float, now: float) -> float:
        """Take processor time; return for how many seconds to rest.

        Args:
            seconds: of processor time, spent since the last call.
            now: time.monotonic().
        """
        self._left = min(CREDIT, self._left + SHARE * (now - self._at)) - seconds
        self._at = now
        return min(LONGEST_REST, max(0.0, -self._left / SHARE))

    @property
    def is_short(self) -> bool:
        """Whether there is more to do than can be done for long."""
        return self._left < CREDIT / 2
