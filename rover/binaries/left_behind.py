"""Children that the kernel does not let go of, for they hang in a read: on whose account.

Each takes one of few places for as long as it hangs. Whoever has one may have no other, and the
last is the host's root's alone, as `rover.foreign.blame` has it.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from rover.foreign.blame import Blames, blame_of

if TYPE_CHECKING:
    from rover.foreign.blame import Blame

MOST: Final = 4
"""Children that hang; no more are started beside them."""
MAX_KNOWN: Final = 1_024
"""Processes."""


class LeftBehind:
    """Of one reader; for one thread at a time."""

    def __init__(self, proc: str = "/proc") -> None:
        """Begin.

        Args:
            proc: where the host's processes are.
        """
        self._proc = proc
        self._children: dict[int, Blame | None] = {}
        """By pid; None where it hangs on nobody's account."""
        self._known: dict[int, Blame] = {}
        self._blames = Blames()

    def __bool__(self) -> bool:
        """Whether there may be any."""
        return bool(self._children)

    def behind(self, pid: int) -> Blame | None:
        """Say who stands behind reads of a process, None for pid 0, which is the kernel.

        What was found first is kept, for the process may end before the read does.
        """
        if not pid:
            return None
        known = self._known.get(pid)
        if known is None:
            if len(self._known) >= MAX_KNOWN:
                del self._known[next(iter(self._known))]
            known = self._known[pid] = blame_of(pid, self._proc)
        return known

    def forget(self, pid: int) -> None:
        """Drop what is known of a process."""
        self._known.pop(pid, None)

    def forget_all(self) -> None:
        """Drop what is known of all processes: nobody reads them now."""
        self._known.clear()

    def add(self, child: int, blame: Blame | None) -> None:
        """Take note of a child that was killed and is still there."""
        self._children[child] = blame

    def obstacle(self, blame: Blame | None) -> str:
        """Say why nothing is to be read on somebody's account now; "" where it may be."""
        if not self._children:
            return ""
        self._children = {pid: each for pid, each in self._children.items() if _is_there(pid)}
        holders = [each for each in self._children.values() if each]
        if len(self._children) >= MOST:
            return f"{MOST} children are held up by what they read"
        self._blames.hold(holders, last_place=len(self._children) == MOST - 1)
        if blame and self._blames.pause(blame, time.monotonic()):
            return f"a child is held up by what it read of {' and of '.join(map(str, holders))}"
        return ""


def _is_there(pid: int) -> bool:
    """Tell whether a child has not ended yet, and take its exit status where it has."""
    try:
        return os.waitpid(pid, os.WNOHANG) == (0, 0)
    except ChildProcessError:
        return False
