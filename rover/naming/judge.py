"""What the census asks of whoever names processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rover.model import Process, ProcessKey, Verdict


class Judge(Protocol):
    """Gives each process its entities, and says when it would give others.

    Called by the discovery thread alone. A judge never raises for one bad process: its verdict
    tells what failed.
    """

    def judge(self, process: Process) -> Verdict:
        """Decide what a new or changed process is called, and remember what that depends on."""

    def forget(self, key: ProcessKey) -> None:
        """Drop what was remembered of a process that has ended."""

    def apply(self, message: object) -> Iterable[ProcessKey]:
        """Take in news from another thread; return the processes to judge again."""

    def refresh(self, now: float) -> Iterable[ProcessKey]:
        """Look at what changes without news; return the processes to judge again.

        Args:
            now: time.monotonic().
        """

    def next_refresh(self, now: float) -> float:
        """Return the time.monotonic() at which `refresh` has something to look at."""

    def figures(self) -> Mapping[str, Mapping[str, int]]:
        """Return what the judge counts, by subject, for the metrics."""
