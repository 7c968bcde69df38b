"""The metadata file of one process, as the child that reads it tells of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

from rover.clock import TICKS_PER_SECOND
from rover.sensor.metadata import Metadata, parse_metadata

if TYPE_CHECKING:
    from rover.model import Process

_CLOCK_SLACK: Final = 0.1
"""Seconds: a start is known to the clock tick, a file's time to the timer tick."""
_CHANGES: Final = 5.0
_CHANGE_EVERY: Final = 30.0
"""Contents taken at once, and seconds for each more: what is written anew at each look would make
another entity of the process each time."""


class Moment(NamedTuple):
    """A time to look, in wall-clock seconds as files have them."""

    now: float
    oldest: float
    """A touch before it is too long ago."""
    booted: float
    """When the host started, by the clock as it goes now."""

    @classmethod
    def at(cls, now: float, stale_after: float) -> Moment:
        """Make one of the time and the age at which a file no longer counts."""
        booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        return cls(now, now - stale_after, booted)


class MetadataFile:
    """What the file of one process says, while it counts.

    It counts when it was touched lately, and when that was after the process's start: what an
    earlier process with the same pid left behind names nobody. Whose it is the child has checked.

    Attributes:
        metadata: What it says now, None while it does not count.
        size: Bytes of what is kept of it.
        complaint: What is wrong with the file, "" where nothing is.
    """

    __slots__ = (
        "_changes",
        "_changes_at",
        "_digest",
        "_later",
        "_modified",
        "_parsed",
        "_started",
        "complaint",
        "metadata",
        "size",
    )

    def __init__(self, process: Process) -> None:
        self._started = process.key.start_ticks / TICKS_PER_SECOND - _CLOCK_SLACK
        self._modified = 0.0
        self._digest = 0
        self._later: bytes | None = None
        self._parsed: Metadata | None = None
        self._changes = _CHANGES
        self._changes_at = 0.0
        self.metadata: Metadata | None = None
        self.size = 0
        self.complaint = ""

    def take(self, content: bytes, modified: float, moment: Moment) -> None:
        """Take in a content; one that comes too soon after many others waits for `recount`."""
        self._modified = modified
        if self._parsed and hash(content) == self._digest:
            self._later = None
        else:
            self._later, self.size = content, len(content)
        self.recount(moment)

    def touch(self, modified: float, moment: Moment) -> None:
        """Take note that the file was touched."""
        self._modified = modified
        self.recount(moment)

    def recount(self, moment: Moment) -> None:
        """Decide what counts now."""
        if self._later is not None and self._may_change(moment.now):
            self._parse(self._later)
            self._later = None
        counts = self._modified > moment.oldest and self._modified > moment.booted + self._started
        self.metadata = self._parsed if counts else None

    def reject(self, complaint: str) -> None:
        """Refuse what the file says until it changes."""
        self._parsed = self.metadata = self._later = None
        self._digest = self.size = 0
        self.complaint = complaint

    def _parse(self, content: bytes) -> None:
        try:
            parsed = parse_metadata(content)
        except ValueError as error:
            self.reject(str(error))
        except Exception as error:  # noqa: BLE001  what one file brings out costs its process alone
            self.reject(f"a defect: {error!r}")
        else:
            self._parsed, self._digest = parsed, hash(content)
            self.size, self.complaint = len(content), ""

    def _may_change(self, now: float) -> bool:
        gained = max(0.0, now - self._changes_at) / _CHANGE_EVERY
        self._changes, self._changes_at = min(_CHANGES, self._changes + gained), now
        if self._changes < 1:
            return False
        self._changes -= 1
        return True
