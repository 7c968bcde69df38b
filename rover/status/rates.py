"""Which peers connect more often than anyone needs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable

A_SECOND: Final = 0.5
"""Connections that anyone may make in the long run: probes take one in 5 s, a scrape one in 15."""
AT_ONCE: Final = 10.0
"""Connections that anyone may make at once."""
FLOOD: Final = 20.0
"""Connections beyond that which make a flood, whether there is time for it or not."""
EARNED_HELD_OFF: Final = 10.0
"""Seconds of being held off that count as time without connections: longer ones earn no more."""
PEERS: Final = 1_024
"""Peers that are remembered; of more, the one longest known is taken for a new one."""


class Rates:
    """Counts the connections of each peer, as a bucket that fills again with time."""

    def __init__(self) -> None:
        self._left: dict[Hashable, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._left)

    def excess(self, peer: Hashable, now: float) -> float:
        """Count a connection; return how many its peer has made beyond what anyone may.

        No more than `FLOOD` are remembered: who has stopped for a minute is as good as any.
        """
        left, at = self._left.pop(peer, (AT_ONCE, now))
        now = max(now, at)  # of one that is held off, connections of before may still come
        left = max(min(AT_ONCE, left + (now - at) * A_SECOND) - 1.0, -FLOOD)
        if len(self._left) >= PEERS:
            del self._left[next(iter(self._left))]
        self._left[peer] = left, now
        return max(0.0, -left)

    def held_off(self, peer: Hashable, until: float) -> None:
        """Take note that a peer that was counted cannot connect before a time."""
        left, at = self._left[peer]
        self._left[peer] = left, max(at, until - EARNED_HELD_OFF)
