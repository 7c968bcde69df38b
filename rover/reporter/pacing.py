"""How often things are sent, and how long it is waited before the next attempt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rover.reporter.failures import FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_PAUSE: Final = 0.25
"""Upper bound of the pause after the first failure, seconds."""
FIRST_PAUSE_BUSY: Final = 1.0
NEWS_RATE: Final = 10.0
"""Reports of news a second, while they keep coming."""
NEWS_BURST: Final = 5
"""Reports of news that go out at once after a quiet time."""
FIRST_BEATS_RATE: Final = 2.0
"""Calls a second with first beats, while new processes keep coming: then many share a call, which
costs as much as their reports. Their users see them by the backend's next flush, seconds later."""
HALF: Final = 0.5
"""Floor of the pauses that must not be short by chance."""


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


@dataclass(slots=True)
class TokenBucket:
    """Lets some sends through at once, and so many a second when they keep coming."""

    rate: float
    """Sends a second."""
    burst: int
    """Sends in a row after a quiet time."""
    full_at: float = 0.0
    """When the whole burst is free again, monotonic seconds."""

    def take(self, now: float) -> float:
        """Use one send; give the time from which the next is free."""
        self.full_at = max(self.full_at, now) + 1 / self.rate
        return self.full_at - (self.burst - 1) / self.rate


@dataclass(frozen=True, slots=True)
class Pacing:
    """Seconds, from the settings."""

    heartbeat: float = 20.0
    properties_every: int = 10
    """Beats between two full reports."""
    check: float = 5.0
    """Upper bound of the pause while the backend is away."""
    timeout: float = 10.0
    """Deadline of a call."""

    @property
    def silence(self) -> Backoff:
        """Before an entity is reported again for which no answer came."""
        return Backoff(FIRST_PAUSE, self.heartbeat, HALF)

    def backoff(self, kind: FailureKind) -> Backoff:
        """Before the next attempt; never longer than a beat, so that none is lost after the end."""
        match kind:
            case FailureKind.BUSY:
                return Backoff(FIRST_PAUSE_BUSY, self.heartbeat, HALF)
            case FailureKind.DENIED | FailureKind.WRONG_SERVER | FailureKind.BROKEN:
                return Backoff(self.check, self.heartbeat, HALF)
            case _:
                return Backoff(FIRST_PAUSE, min(self.check, self.heartbeat / 2))
