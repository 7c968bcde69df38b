"""How long to wait before the next attempt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential pauses with jitter: a fleet that lost its backend must not return as one."""

    first: float
    """Upper bound of the first pause, seconds."""
    cap: float
    """Upper bound of every pause, seconds."""
    floor: float = 0.0
    """Share of the bound that is always waited; 0 is full jitter."""

    def pause(self, attempts: int, chance: Callable[[], float]) -> float:
        """Give the pause after so many attempts before this one; chance is in [0, 1)."""
        # 2**30 of anything is over every cap; the number must not grow for weeks
        bound = min(self.cap, self.first * float(1 << min(attempts, 30)))
        return bound * (self.floor + (1 - self.floor) * chance())
