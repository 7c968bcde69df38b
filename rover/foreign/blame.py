"""Whose processes have held reads up, and for how long they are left out.

A user who holds up one read can hold up the next through another process, so the user is left out,
not the process. Root's processes are told apart by their mount namespace, for a container's root is
not the host's; those of the host each for itself.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

FIRST_PAUSE_S: Final = 5.0
LONGEST_PAUSE_S: Final = 3_600.0
FORGIVEN_S: Final = 600.0
"""Seconds after the end of a pause in which another read held up makes the next pause longer."""
MAX_CULPRITS: Final = 1_024
MANY: Final = 4
MANY_WITHIN_S: Final = 300.0
"""So many held up in so long, whoever it was: then all users but root are left out for a while."""
_ROOT_UID: Final = 0


class Blame(NamedTuple):
    """Who stands behind a read."""

    pid: int
    uid: int
    namespace: int = 0
    """The mount namespace, 0 where it is the agent's own or not known."""

    @property
    def key(self) -> tuple[str, int]:
        """What is left out together."""
        if self.uid != _ROOT_UID:
            return "uid", self.uid
        if self.namespace:
            return "mount namespace", self.namespace
        return "pid", self.pid

    def __str__(self) -> str:
        return f"pid {self.pid} of uid {self.uid}"


class _Strikes(NamedTuple):
    times: int
    until: float


class Blames:
    """Who is left out now; times are seconds of one clock that only grows."""

    def __init__(self) -> None:
        self._strikes: dict[tuple[str, int], _Strikes] = {}
        self._recent: deque[float] = deque(maxlen=MANY)
        self._others_until = 0.0
        self.last: Blame | None = None
        """Who held the latest read up."""
        self.last_at = 0.0

    def strike(self, blame: Blame, now: float) -> float:
        """Take note that a read was held up; return the seconds of the pause."""
        before = self._strikes.pop(blame.key, None)
        count = before.times + 1 if before and now < before.until + FORGIVEN_S else 1
        pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(count - 1, 20))
        if len(self._strikes) >= MAX_CULPRITS:
            del self._strikes[next(iter(self._strikes))]
        self._strikes[blame.key] = _Strikes(count, now + pause)
        self._recent.append(now)
        if len(self._recent) == MANY and now - self._recent[0] < MANY_WITHIN_S:
            self._others_until = now + MANY_WITHIN_S
        self.last, self.last_at = blame, now
        return pause

    def pause(self, blame: Blame, now: float) -> float:
        """Return for how many seconds more a process is left out, 0 where it is not."""
        strikes = self._strikes.get(blame.key)
        until = strikes.until if strikes else 0.0
        if blame.uid != _ROOT_UID:
            until = max(until, self._others_until)
        return max(0.0, until - now)

    def left_out(self, now: float) -> int:
        """Return how many users, mount namespaces and processes are left out."""
        return sum(strikes.until > now for strikes in self._strikes.values())

    def active(self, now: float) -> bool:
        """Tell whether anybody is left out."""
        return now < self._others_until or self.left_out(now) > 0
