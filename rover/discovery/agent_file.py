"""The metadata file of one process, followed from look to look."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from rover.discovery.agent_metadata import AgentMetadata, parse_metadata
from rover.discovery.rooted import read_file

if TYPE_CHECKING:
    from rover.model import Process

MAX_FILE: Final = 65_536
"""Bytes; the backend drops properties over 50,000 UTF-16 units."""
_ROOT_UID: Final = 0
_CLOCK_SLACK: Final = 0.1
"""Seconds: a start is known to the clock tick, a file's time to the timer tick."""
_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")


class AgentFile:
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
        self._started = process.key.start_ticks / _TICKS_PER_SECOND - _CLOCK_SLACK
        self._signature: tuple[int, ...] = ()
        self._modified = 0.0
        self._digest = 0
        self._parsed: AgentMetadata | None = None
        self.metadata: AgentMetadata | None = None
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

    def look(self, directory: int, oldest: float, booted: float) -> None:
        """Look at the file once; one that has not changed is not read again.

        Args:
            directory: The open directory of agents' files.
            oldest: Wall-clock time, seconds, before which a touch is too long ago.
            booted: Wall-clock time of the start of the host, seconds.
        """
        try:
            status = os.stat(self._path, dir_fd=directory, follow_symlinks=False)
            if _signature(status) != self._signature:
                # Kept even if it cannot be read, so that the same failure costs one look.
                self._signature = _signature(status)
                self._read(directory)
        except (FileNotFoundError, NotADirectoryError):
            self.clear()
        except (OSError, ValueError) as error:
            self.reject(getattr(error, "strerror", None) or str(error))
        counts = self._modified > max(oldest, booted + self._started)
        self.metadata = self._parsed if counts else None

    def reject(self, complaint: str) -> None:
        """Refuse what the file says until it changes."""
        self._parsed = self.metadata = None
        self._digest = self.size = 0
        self.complaint = complaint

    def _read(self, directory: int) -> None:
        status, content = read_file(directory, self._path, MAX_FILE + 1)
        if status.st_uid not in {self._uid, _ROOT_UID}:
            raise ValueError(f"owned by uid {status.st_uid}, its process runs as {self._uid}")
        if len(content) > MAX_FILE:
            raise ValueError(f"larger than {MAX_FILE} bytes")
        if self._parsed is None or hash(content) != self._digest:
            self._parsed = parse_metadata(content)
        self._digest, self.size, self.complaint = hash(content), len(content), ""
        self._signature, self._modified = _signature(status), status.st_mtime


def _signature(status: os.stat_result) -> tuple[int, ...]:
    """Differ when a file was replaced, written or touched."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
