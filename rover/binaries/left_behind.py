"""Children that the kernel does not let go of, for they hang in a read: on whose account.

Each takes one of few places for as long as it hangs. Whoever has one may have no other, and the
last is the host's root's alone, as `rover.foreign.blame` has it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from rover.foreign.blame import is_kept_out

if TYPE_CHECKING:
    from rover.foreign.blame import Blame

MOST: Final = 4
"""Children that hang; no more are started beside them."""


class LeftBehind:
    """Of one reader; for one thread at a time."""

    def __init__(self) -> None:
        """Begin with none."""
        self._children: dict[int, Blame | None] = {}
        """By pid; None where it hangs on nobody's account."""

    def add(self, child: int, blame: Blame | None) -> None:
        """Take note of a child that was killed and is still there."""
        self._children[child] = blame

    def obstacle(self, blame: Blame | None) -> str:
        """Say why nothing is to be read on somebody's account now; "" where it may be.

        Args:
            blame: who stands behind it; None: nobody but the kernel.
        """
        if not self._children:
            return ""
        self._children = {pid: each for pid, each in self._children.items() if _is_there(pid)}
        if len(self._children) >= MOST:
            return f"{MOST} children are held up by what they read"
        if blame is None:
            return ""
        holders = [each for each in self._children.values() if each]
        holding = {key for each in holders for key in each.keys}
        if is_kept_out(blame, holding, last_place=len(self._children) == MOST - 1):
            own = [each for each in holders if each.keys & blame.keys]
            if own:
                return f"a child is held up by what it read of {own[0]}"
            return f"{MOST - 1} children are held up by what they read; the last is the host's"
        return ""


def _is_there(pid: int) -> bool:
    """Tell whether a child has not ended yet, and take its exit status where it has."""
    try:
        return os.waitpid(pid, os.WNOHANG) == (0, 0)
    except ChildProcessError:
        return False
