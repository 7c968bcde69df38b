"""How often each of many things may change before it has to wait.

A daemon settles in a few changes; a title that carries a counter changes at every look, for ever.
So the first changes pass at once, then pauses grow, and what is newest when a pause ends passes.
"""

from __future__ import annotations

from typing import Final, Generic, NamedTuple, TypeVar

K = TypeVar("K")

AT_ONCE: Final = 4
"""Changes of one thing that pass without a pause: more than a daemon makes while it starts."""
PAUSES: Final = (60.0, 120.0, 240.0, 480.0)
"""Seconds between two later ones."""
QUIET: Final = 960.0
"""Seconds without a change after which a thing counts as settled again; above the longest pause,
so that one which is held back all the time is not forgiven at its end."""


class _Passed(NamedTuple):
    changes: int
    at: float
    """Of the latest one, time.monotonic()."""


class Flapping(Generic[K]):
    """Lets changes pass or holds them back, by what they are changes of; one thread uses it.

    It holds one entry for each thing that has changed, until that is forgotten.
    """

    def __init__(self) -> None:
        self._passed: dict[K, _Passed] = {}
        self._held: dict[K, float] = {}
        self._soonest = float("inf")
        self.times = 0
        """Changes held back since the start; of one thing each look at it may count."""

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, key: K) -> bool:
        """Tell whether a change of it is held back."""
        return key in self._held

    def passes(self, key: K, now: float) -> bool:
        """Tell whether a change of this thing may pass now; if not, `due` gives it back later."""
        at = self._next(key, now)
        if at > now:
            self.times += 1
            self._held[key] = at
            self._soonest = min(self._soonest, at)
            return False
        passed = self._passed.get(key)
        changes = passed.changes if passed and now - passed.at < QUIET else 0
        self._passed[key] = _Passed(min(changes + 1, AT_ONCE + len(PAUSES)), now)
        self._held.pop(key, None)
        return True

    def due(self, now: float) -> list[K]:
        """Take out the things whose held change may pass now."""
        if now < self._soonest:
            return []
        keys = [key for key, at in self._held.items() if at <= now]
        for key in keys:
            del self._held[key]
        self._soonest = min(self._held.values(), default=float("inf"))
        return keys

    def next_due(self) -> float | None:
        """Return the time.monotonic() at which `due` has something to give, at the earliest."""
        return self._soonest if self._held else None

    def held_until(self, key: K) -> float | None:
        """Return when a held change may pass, None where none is held."""
        return self._held.get(key)

    def drop(self, key: K) -> None:
        """Let a held change be: the thing is again as it was."""
        self._held.pop(key, None)

    def forget(self, key: K) -> None:
        """Drop all that is known of a thing that is gone."""
        self._passed.pop(key, None)
        self._held.pop(key, None)

    def _next(self, key: K, now: float) -> float:
        passed = self._passed.get(key)
        if passed is None or passed.changes < AT_ONCE or now - passed.at >= QUIET:
            return now
        return passed.at + PAUSES[min(passed.changes - AT_ONCE, len(PAUSES) - 1)]
