"""Processes that could not be read in time, and when to look at each again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from rover.model import ProcessKey

FIRST_S: Final = 0.1
LONGEST_S: Final = 60.0
"""Seconds until the next look, doubled from one to the other."""
PATIENT_LOOKS: Final = 4
"""Looks, 1.5 s of them, in which a process is not judged: it would be reported under a name that
its command line would change."""


class _Look(NamedTuple):
    key: ProcessKey
    at: float
    looks: int


class LateReads:
    """By pid; no more than there are processes. Times are of one clock that only grows."""

    def __init__(self) -> None:
        self._looks: dict[int, _Look] = {}
        self._next: float | None = None

    def __len__(self) -> int:
        return len(self._looks)

    def note(self, key: ProcessKey, now: float) -> None:
        """Take note that a process was not read in time, for the first time or again."""
        before = self._looks.get(key.pid)
        looks = before.looks + 1 if before and before.key == key else 0
        at = now + min(FIRST_S * 2.0 ** min(looks, 20), LONGEST_S)
        self._looks[key.pid] = _Look(key, at, looks)
        self._next = at if self._next is None else min(self._next, at)

    def drop(self, pid: int) -> None:
        """Forget a process that was read, or is gone."""
        self._looks.pop(pid, None)
        if not self._looks:
            self._next = None

    def is_patient(self, pid: int) -> bool:
        """Tell whether a process is still to be waited for."""
        look = self._looks.get(pid)
        return look is not None and look.looks < PATIENT_LOOKS

    def next_look(self) -> float | None:
        """Return when the next look is due at the earliest."""
        return self._next

    def due(self, now: float) -> list[int]:
        """Return the pids to look at now; each is then noted again, or dropped."""
        if self._next is None or now < self._next:
            return []
        due = [pid for pid, look in self._looks.items() if look.at <= now]
        later = [look.at for look in self._looks.values() if look.at > now]
        # those that are due are noted or dropped by whoever asks
        self._next = min(later, default=None)
        return due
