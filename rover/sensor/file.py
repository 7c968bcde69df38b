"""The metadata file of one process, followed from look to look."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from rover.clock import TICKS_PER_SECOND
from rover.sensor.metadata import Metadata, parse_metadata
from rover.sensor.rooted import read_file

if TYPE_CHECKING:
    from rover.model import Process

MAX_FILE: Final = 65_536
"""Bytes; the backend drops properties over 50,000 UTF-16 units."""
_ROOT_UID: Final = 0
_CLOCK_SLACK: Final = 0.1
"""Seconds: a start is known to the clock tick, a file's time to the timer tick."""


class Moment(NamedTuple):
    """A time to look, in wall-clock seconds as files have them."""

    oldest: float
    """A touch before it is too long ago."""
    booted: float
    """When the host started, by the clock as it goes now."""

    @classmethod
    def at(cls, now: float, stale_after: float) -> Moment:
        """Make one of the time and the age at which a file no longer counts."""
        return cls(now - stale_after, time.time() - time.clock_gettime(time.CLOCK_BOOTTIME))


class MetadataFile:
    """What the file of one process says, while it counts.

    It counts when the process's user or root owns it, since anybody may write into a shared /tmp;
    when it was touched lately; and when that was after the process's start: what an earlier process
    with the same pid left behind names nobody.

    Attributes:
        metadata: What it says now, None while it does not count.
        size: Bytes that were read to say so.
        complaint: What is wrong with the file, "" where nothing is.
    """

    __slots__ = (
        "_digest",
        "_modified",
        "_parsed",
        "_path",
        "_signature",
        "_started",
        "_uid",
        "complaint",
        "metadata",
        "size",
    )

    def __init__(self, process: Process) -> None:
        self._path = f"{process.namespace_pid}/metadata.properties"
        self._uid = process.uid
        self._started = process.key.start_ticks / TICKS_PER_SECOND - _CLOCK_SLACK
        self._signature: tuple[int, ...] = ()
        self._modified = 0.0
        self._digest = 0
        self._parsed: Metadata | None = None
        self.metadata: Metadata | None = None
        self.size = 0
        self.complaint = ""

    @property
    def present(self) -> bool:
        """Whether there was a file, good or bad, at the last look."""
        return bool(self._signature)

    def clear(self) -> None:
        """Forget the file: there is none."""
        self._signature = ()
        self.reject("")

    def look(self, directory: int, moment: Moment) -> bool:
        """Look at the file once; tell whether it is another than before, or is there no more.

        Args:
            directory: The open directory of agents' files.
            moment: When this is.
        """
        try:
            status = os.stat(self._path, dir_fd=directory, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            self.clear()
            return True
        except OSError as error:
            self.reject(_reason(error))
            return True
        signature = _signature(status)
        differs = signature != self._signature
        if differs:
            # Kept even if it cannot be read, so that the same failure costs one look.
            self._signature = signature
            self._read(directory)
        counts = self._modified > moment.oldest and self._modified > moment.booted + self._started
        self.metadata = self._parsed if counts else None
        return differs

    def reject(self, complaint: str) -> None:
        """Refuse what the file says until it changes."""
        self._parsed = self.metadata = None
        self._digest = self.size = 0
        self.complaint = complaint

    def _read(self, directory: int) -> None:
        try:
            status, content = read_file(directory, self._path, MAX_FILE + 1)
            self._check(status.st_uid, len(content))
            if self._parsed is None or hash(content) != self._digest:
                self._parsed = parse_metadata(content)
        except (OSError, ValueError) as error:
            self.reject(_reason(error))
        else:
            self._digest, self.size, self.complaint = hash(content), len(content), ""
            self._signature, self._modified = _signature(status), status.st_mtime

    def _check(self, owner: int, size: int) -> None:
        if owner not in {self._uid, _ROOT_UID}:
            raise ValueError(f"owned by uid {owner}, its process runs as {self._uid}")
        if size > MAX_FILE:
            raise ValueError(f"larger than {MAX_FILE} bytes")


def _reason(error: Exception) -> str:
    # The path in an OSError's own text is relative, and says less than the pid beside it.
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _signature(status: os.stat_result) -> tuple[int, ...]:
    """Differ when a file was replaced, written or touched."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
