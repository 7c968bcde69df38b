"""Whose processes have held reads up, and for how long they are left out.

First the process itself: it may be stuck by no will of its own. Where a third process of one user
has done so, that user, who could hold up the next read through the next process. Root's processes
are told apart by their mount namespace, for a container's root is not the host's; those of the host
stand each for itself; and the users in a user namespace by who made it, if that was not root. Reads
that come slowly count together as one that does not come.

A child that the kernel does not let go takes one of few places for as long as it hangs: nobody who
has one of them may have another, and the last is the host's root's alone.
"""

from __future__ import annotations

import functools
import os
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from rover.foreign.owners import owner_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

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
"""So many users of whom reads were held up in so long: then all but root are left out."""
SLOW_S: Final = 1.0
"""Seconds that the slow reads of one user's processes may take together."""
SLOW_SHARE: Final = 0.02
"""Of the time that passes, what they may take again."""
LONGEST_OF_SLOW_S: Final = 60.0
"""Seconds for which a user is left out for that: a disk that is overloaded is slow as well."""
_ROOT_UID: Final = 0
_REAL_UID: Final = re.compile(rb"^Uid:\t(\d+)", re.MULTILINE)


class Blame(NamedTuple):
    """Who stands behind a read."""

    pid: int
    uid: int
    namespace: int = 0
    """The mount namespace, 0 where it is the agent's own or not known."""
    owner: int = 0
    """Who made the user namespace that the process is in; 0 where that is root or not known."""

    @property
    def key(self) -> tuple[str, int]:
        """What is left out together."""
        if self.uid != _ROOT_UID:
            return "uid", self.owner or self.uid
        if self.namespace:
            return "mount namespace", self.namespace
        return "pid", self.pid

    @property
    def keys(self) -> set[tuple[str, int]]:
        """What may be left out on its account: itself, and all that `key` stands for."""
        return {self.key, ("pid", self.pid)}

    @property
    def is_of_host(self) -> bool:
        """Whether it is the host's root's, of whose processes each stands for itself."""
        return self.key[0] == "pid"

    def __str__(self) -> str:
        return f"pid {self.pid} of uid {self.uid}"


def is_kept_out(blame: Blame, holding: Container[tuple[str, int]], *, last_place: bool) -> bool:
    """Tell whether another child may not read on somebody's account.

    Args:
        blame: who stands behind it.
        holding: the `keys` of those whose reads hang in children that cannot be ended.
        last_place: whether there is but one place more for such children, which is host root's.
    """
    return any(key in holding for key in blame.keys) or (last_place and not blame.is_of_host)


def blame_of(pid: int, proc: str = "/proc") -> Blame:
    """Find out who stands behind reads of a process; root of the host, where it has ended.

    Opens nothing but the kernel's own files, and never waits.
    """
    try:
        # the directory itself is root's where the process cannot be dumped
        found = _REAL_UID.search(Path(f"{proc}/{pid}/status").read_bytes())
    except OSError:
        found = None
    uid = int(found[1]) if found else _ROOT_UID
    try:
        namespace = os.stat(f"{proc}/{pid}/ns/mnt").st_ino  # noqa: PTH116
    except OSError:
        namespace = 0
    return whole_blame(pid, uid, namespace, proc)


def whole_blame(pid: int, uid: int, namespace: int, proc: str = "/proc") -> Blame:
    """Add to what is known of a process who made its user namespace.

    Args:
        pid: its own.
        uid: the user it runs as.
        namespace: its mount namespace.
        proc: where the host's processes are.
    """
    owner = max(0, owner_of(pid, proc)) if uid else 0
    return Blame(pid, uid, 0 if namespace == own_mount_namespace() else namespace, owner)


@functools.cache
def own_mount_namespace() -> int:
    """Return the number of the agent's own mount namespace; 0 where that is not told."""
    try:
        return Path("/proc/self/ns/mnt").stat().st_ino
    except OSError:
        return 0


class _Strikes(NamedTuple):
    times: int
    until: float
    pids: frozenset[int]


class Blames:
    """Who is left out now; times are seconds of one clock that only grows."""

    def __init__(self) -> None:
        self._strikes: dict[tuple[str, int], _Strikes] = {}
        self._recent: dict[tuple[str, int], float] = {}
        """When a read of a user's processes was held up last; of the last `MANY` users."""
        self._others_until = 0.0
        self._slow: dict[tuple[str, int], tuple[float, float]] = {}
        self._holding: Counter[tuple[str, int]] = Counter()
        self._last_place = False
        self.last: Blame | None = None
        """Who held the latest read up."""
        self.last_at = 0.0

    def strike(self, blame: Blame, now: float) -> float:
        """Take note that a read was held up; return the seconds of the process's pause."""
        if blame.uid != _ROOT_UID:
            self._note_user(blame.key, now)
        self.last, self.last_at = blame, now
        own = ("pid", blame.pid)
        self._strike(own, blame.pid, now, 1, LONGEST_OF_ONE_S)
        if blame.key != own:
            self._strike(blame.key, blame.pid, now, SEVERAL, LONGEST_OF_ALL_S)
        return self.pause(blame, now)

    def _note_user(self, key: tuple[str, int], now: float) -> None:
        """Leave all users out where too many of them have held reads up."""
        self._recent.pop(key, None)
        self._recent[key] = now
        while len(self._recent) > MANY:
            del self._recent[next(iter(self._recent))]
        if len(self._recent) == MANY and now - min(self._recent.values()) < MANY_WITHIN_S:
            self._others_until = now + MANY_WITHIN_S

    def slow(self, blame: Blame, seconds: float, now: float) -> float:
        """Take note that a read came, but slowly; return the seconds of its user's pause."""
        if self.pause(blame, now):  # asked before that began
            return 0.0
        key = blame.key
        before, at = self._slow.pop(key, (0.0, now))
        taken = max(0.0, before - (now - at) * SLOW_SHARE) + seconds
        if len(self._slow) >= MAX_CULPRITS:
            del self._slow[next(iter(self._slow))]
        self._slow[key] = taken, now
        if taken < SLOW_S:
            return 0.0
        self.last, self.last_at = blame, now
        self._strike(key, blame.pid, now, 1, LONGEST_OF_SLOW_S)
        return self.pause(blame, now)

    def hold(self, blames: Iterable[Blame], *, last_place: bool) -> None:
        """Take note of whose reads hang now in children that cannot be ended.

        Args:
            blames: theirs.
            last_place: whether one more such child would be too many.
        """
        self._holding = Counter(key for blame in blames for key in blame.keys)
        self._last_place = last_place

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
        known = (self._strikes[key].until for key in blame.keys if key in self._strikes)
        until = max(known, default=0.0)
        if blame.uid != _ROOT_UID:
            until = max(until, self._others_until)
        if is_kept_out(blame, self._holding, last_place=self._last_place):
            until = max(until, now + FIRST_PAUSE_S)  # and again, for as long as it hangs
        return max(0.0, until - now)

    def left_out(self, now: float) -> int:
        """Return how many users, mount namespaces and processes are left out."""
        return sum(strikes.until > now for strikes in self._strikes.values())

    def active(self, now: float) -> bool:
        """Tell whether anybody is left out."""
        return now < self._others_until or self.left_out(now) > 0
