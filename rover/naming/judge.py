"""What the census asks of whoever names processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rover.model import Process, ProcessKey, Verdict
    from rover.naming.trail import Trail


@dataclass(frozen=True, slots=True)
class PodProcesses:
    """What tells a pod's processes from others."""

    uids: frozenset[str]
    """The pod's, in the forms that a cgroup's path may have."""
    containers: frozenset[str]
    """Ids."""


class Judge(Protocol):
    """Gives each process its entities, and says when it would give others.

    Called by the discovery thread alone. A judge never raises for one bad process: its verdict
    tells what failed.
    """

    def judge(self, process: Process) -> Verdict:
        """Decide what a new or changed process is called, and remember what that depends on."""

    def trace(self, process: Process, trail: Trail) -> None:
        """Write down the way that a known process takes through `judge` now; changes nothing."""

    def pod(self, namespace: str, name: str) -> PodProcesses | None:
        """Tell what the processes of a pod are known by; None where no such pod is known."""

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
