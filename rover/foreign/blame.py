"""Whose processes have held reads up, and for how long they are left out.

First the process itself: it may be stuck by no will of its own. Where a third process of one user
has done so, that user, who could hold up the next read through the next process. Root's processes
are told apart by their mount namespace, for a container's root is not the host's; those of the host
stand each for itself.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

FIRST_PAUSE_S: Final = 5.0
LONGEST_OF_ONE_S: Final = 300.0
LONGEST_OF_ALL_S: Final = 3_600.0
"""Seconds for which one process, or all of a user's, are left out; doubled each time."""
SEVERAL: Final = 3
"""Processes that held reads up before all of their user are left out."""
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
    pids: frozenset[int]


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
        """Take note that a read was held up; return the seconds of the process's pause."""
        self._recent.append(now)
        if len(self._recent) == MANY and now - self._recent[0] < MANY_WITHIN_S:
            self._others_until = now + MANY_WITHIN_S
        self.last, self.last_at = blame, now
        own = ("pid", blame.pid)
        self._strike(own, blame.pid, now, 1, LONGEST_OF_ONE_S)
        if blame.key != own:
            self._strike(blame.key, blame.pid, now, SEVERAL, LONGEST_OF_ALL_S)
        return self.pause(blame, now)

    def _strike(
        self, key: tuple[str, int], pid: int, now: float, several: int, longest: float
    ) -> None:
        before = self._strikes.pop(key, None)
        if before and now >= before.until + FORGIVEN_S:
            before = None
        # which ones they were is of interest until they are several
        pids = before.pids if before else frozenset()
        pids = pids if len(pids) >= several else pids | {pid}
        times, until = (before.times if before else 0), now
        if len(pids) >= several:
            until += min(longest, FIRST_PAUSE_S * 2.0 ** min(times, 20))
            times += 1
        if len(self._strikes) >= MAX_CULPRITS:
            del self._strikes[next(iter(self._strikes))]
        self._strikes[key] = _Strikes(times, until, pids)

    def pause(self, blame: Blame, now: float) -> float:
        """Return for how many seconds more a process is left out, 0 where it is not."""
        keys = {blame.key, ("pid", blame.pid)}
        until = max(self._strikes[key].until if key in self._strikes else 0.0 for key in keys)
        if blame.uid != _ROOT_UID:
            until = max(until, self._others_until)
        return max(0.0, until - now)

    def left_out(self, now: float) -> int:
        """Return how many users, mount namespaces and processes are left out."""
        return sum(strikes.until > now for strikes in self._strikes.values())

    def active(self, now: float) -> bool:
        """Tell whether anybody is left out."""
        return now < self._others_until or self.left_out(now) > 0
