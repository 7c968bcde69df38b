"""Whether known processes are still in their cgroups, asked of the cgroups instead of each process.

Others move a process from cgroup to cgroup while it sleeps, so each must be looked at again, and
/proc/PID/cgroup is the dearest part of that look: 10 to 15 us, most of it for v1's many trees. A
cgroup's own list of its processes (cgroup.procs) costs 1 us for each. Where the agent does not see
the host's trees, as in most containers, a process is asked after all.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from rover.model import ProcessKey
    from rover.table import Row

UNIFIED: Final = "cgroup2"
NAMED: Final = "name=systemd"
"""The tree of v1 that systemd keeps its units in."""
AT_ONCE: Final = 512
"""Members looked for in a turn, and the rest of the group in which that number is reached."""
NEXT_TURN: Final = 0.1
"""Seconds to the next turn of a round."""
LIST_BYTES: Final = 4 * 1_048_576
"""More than half a million pids: a longer list is not read."""
CACHED_CGROUPS: Final = 1_024


class Trees(Protocol):
    """The trees of cgroups that say where a process is."""

    def places(self, cgroup: str) -> tuple[str, ...]:
        """Give the lists that a process with this text is in; none where they cannot be seen."""

    def members(self, place: str) -> Collection[bytes]:
        """Read the pids of one list.

        Raises:
            OSError: it is gone, or has too many.
        """


class NoTrees:
    """Nothing is seen of any tree."""

    def places(self, cgroup: str) -> tuple[str, ...]:
        """Give none."""
        del cgroup
        return ()

    def members(self, place: str) -> Collection[bytes]:
        """Fail: there is no list."""
        raise FileNotFoundError(place)


NO_TREES: Final = NoTrees()


class MountedTrees:
    """The trees as they are mounted where the agent runs: v2's, and the named one of v1."""

    def __init__(self, mounts: Mapping[str, str]) -> None:
        """Take where `UNIFIED` and `NAMED` are mounted."""
        self.places: Callable[[str], tuple[str, ...]] = lru_cache(CACHED_CGROUPS)(
            lambda cgroup: places(cgroup, mounts)
        )

    def members(self, place: str) -> Collection[bytes]:
        """Read the pids of one list."""
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
        try:
            parts, size = [], 0
            while part := os.read(descriptor, 65_536):
                parts.append(part)
                size += len(part)
                if size > LIST_BYTES:
                    raise OSError(f"{place} has more than {LIST_BYTES} bytes")
        finally:
            os.close(descriptor)
        return frozenset(b"".join(parts).split())


def trees_here(mountinfo: str, own_cgroup: str) -> Trees:
    """Find the trees that show the same cgroups as /proc does.

    They do not where the agent has a cgroup namespace or sees a part of a tree alone; then it does
    not find itself where /proc says that it is.

    Args:
        mountinfo: of the agent (proc(5)).
        own_cgroup: lines of its own /proc/PID/cgroup.
    """
    trees = MountedTrees(cgroup_mounts(mountinfo))
    own, own_places = b"%d" % os.getpid(), trees.places(own_cgroup)
    try:
        if own_places and all(own in trees.members(place) for place in own_places):
            return trees
    except OSError:
        pass
    return NO_TREES


def cgroup_mounts(mountinfo: str) -> dict[str, str]:
    """Tell where whole trees are mounted, by `UNIFIED` and `NAMED`; the last mount of each."""
    found = {}
    for line in mountinfo.split("\n"):
        mount, _, system = line.partition(" - ")
        fields, kind = mount.split(" "), system.split(" ")
        if len(fields) < 5 or len(kind) < 3 or fields[3] != "/" or "\\" in fields[4]:  # noqa: PLR2004 - proc(5)
            continue  # a part of a tree, or a path that is written with escapes
        if kind[0] == UNIFIED:
            found[UNIFIED] = fields[4]
        elif kind[0] == "cgroup" and NAMED in kind[2].split(","):
            found[NAMED] = fields[4]
    return found


def places(cgroup: str, mounts: Mapping[str, str]) -> tuple[str, ...]:
    """Give the lists that tell whether a process with this text has been moved.

    v1's other trees have no say in names but in what container a process is; of those it is asked
    when it has run. None are given where one of the lists is out of sight.
    """
    found = []
    for line in cgroup.split("\n"):
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        tree = UNIFIED if hierarchy == "0" and not controllers else controllers
        if tree not in {UNIFIED, NAMED}:
            continue
        if tree not in mounts or not path.startswith("/") or ".." in path.split("/"):
            return ()
        found.append(f"{mounts[tree]}{path.rstrip('/')}/cgroup.procs")
    return tuple(found)


class CgroupRounds:
    """Compares, once a period, who is in each cgroup with who is known to be; of one thread."""

    def __init__(self, trees: Trees, rows: Iterable[Row], period: float) -> None:
        """Begin with the first round at the first turn.

        Args:
            trees: tell who is in a cgroup.
            rows: the table's, read anew each round.
            period: seconds from the beginning of a round to that of the next.
        """
        self._trees = trees
        self._rows = rows
        self._period = period
        self._groups: dict[str, list[ProcessKey]] = {}
        """What is left of the round."""
        self._began = -period
        self._at: float | None = None if isinstance(trees, NoTrees) else 0.0

    def covers(self, cgroup: str) -> bool:
        """Tell whether a round notices that a process has left this cgroup."""
        return bool(self._trees.places(cgroup))

    def next_turn(self) -> float | None:
        """Return the time.monotonic() at which `take` has something to do; None: never."""
        return self._at

    def take(self, now: float) -> Iterator[ProcessKey]:
        """Give the processes that may have left their cgroup, of so many groups as are due."""
        if self._at is None or self._at > now:
            return
        if not self._groups:
            self._began = now
            self._groups = self._grouped()
        looked_at = 0
        while self._groups and looked_at < AT_ONCE:
            cgroup, keys = self._groups.popitem()
            looked_at += len(keys)
            yield from self._strays(cgroup, keys)
        self._at = now + NEXT_TURN if self._groups else self._began + self._period

    def _grouped(self) -> dict[str, list[ProcessKey]]:
        groups: dict[str, list[ProcessKey]] = {}
        for process, _ in self._rows:
            if self.covers(process.cgroup):
                groups.setdefault(process.cgroup, []).append(process.key)
        return groups

    def _strays(self, cgroup: str, keys: list[ProcessKey]) -> Iterator[ProcessKey]:
        try:
            lists = [self._trees.members(place) for place in self._trees.places(cgroup)]
        except OSError:  # gone, or one of v2's threaded ones, which have no list of processes
            yield from keys
            return
        for key in keys:
            pid = b"%d" % key.pid
            if not all(pid in members for members in lists):
                yield key
