"""Processes whose first thread has ended, and when to look whether another of theirs still runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rover.probes.settling import Probes

PAUSES_S: Final = (0.05, 0.1, 0.2, 0.4)
"""Seconds before each look: the last thread may take a while to go."""


class Doubts:
    """By pid; no more than there are processes. Times are of one clock that only grows."""

    def __init__(self, probes: Probes | None) -> None:
        """Begin without any.

        Args:
            probes: attached programs; None where scanning is all there is.
        """
        self._probes = probes
        self._looks: dict[int, tuple[float, int]] = {}

    def __contains__(self, pid: object) -> bool:
        return pid in self._looks

    def note(self, pid: int, now: float) -> None:
        """Have a process looked at again, now and then, and the ends of its threads told.

        Which of its threads run cannot be told while one is on its way out. Where an exit says that
        it is the last, none of this is needed.
        """
        if self._probes and self._probes.loaded.last_known:
            return
        if self._probes:
            self._probes.follow_threads(pid)
        self._looks[pid] = (now + PAUSES_S[0], 0)

    def drop(self, pid: int) -> None:
        """Forget a process that is gone."""
        self._looks.pop(pid, None)

    def next_look(self) -> float | None:
        """Return when the next look is due at the earliest."""
        return min((at for at, _ in self._looks.values()), default=None)

    def due(self, now: float) -> list[int]:
        """Return the pids to look at now; each comes as often as there are pauses."""
        due = [pid for pid, (at, _) in self._looks.items() if at <= now]
        for pid in due:
            looks = self._looks.pop(pid)[1] + 1
            if looks < len(PAUSES_S):
                self._looks[pid] = (now + PAUSES_S[looks], looks)
        return due
