"""What was counted of each process, by named stack; it only ever grows until it is forgotten."""

from __future__ import annotations

from typing import Final

from rover.profiling.records import StackCount, Target

MAX_STACKS: Final = 65_536
"""Different stacks of all processes; what comes beyond is counted under one name."""
TOO_MANY: Final = "[too many different stacks]"


class Total:
    """The counts of one stack."""

    __slots__ = ("count", "ns")

    def __init__(self) -> None:
        self.count = 0
        self.ns = 0


class Totals:
    """Counts by process, target and named stack."""

    def __init__(self, most: int = MAX_STACKS) -> None:
        """Count nothing yet.

        Args:
            most: stacks kept apart.
        """
        self._most = most
        self._of: dict[tuple[int, Target], dict[tuple[tuple[str, ...], ...], Total]] = {}
        self._names: dict[str, str] = {}
        self._stacks = 0

    def of(self, pid: int, target: Target, kernel: tuple[str, ...], user: tuple[str, ...]) -> Total:
        """Return the counts of a stack, to be added to."""
        stacks = self._of.setdefault((pid, target), {})
        found = stacks.get((kernel, user))
        if found is None:
            if self._stacks >= self._most:
                kernel, user = (), (TOO_MANY,)
                return stacks.setdefault((kernel, user), Total())
            self._stacks += 1
            found = stacks[self._kept(kernel), self._kept(user)] = Total()
        return found

    def _kept(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return equal names as the same objects: one function is in many stacks."""
        return tuple([self._names.setdefault(name, name) for name in names])

    def forget(self, pid: int, target: Target) -> None:
        """Forget what was counted of a process."""
        self._stacks -= len(self._of.pop((pid, target), {}))
        self._stacks = max(self._stacks, 0)
        if not self._of:
            self._names.clear()
            self._stacks = 0

    def counts(self) -> list[StackCount]:
        """Return all that was counted."""
        return [
            StackCount(pid, target, kernel, user, total.count, total.ns)
            for (pid, target), stacks in self._of.items()
            for (kernel, user), total in stacks.items()
            if total.count or total.ns
        ]
