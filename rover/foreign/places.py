"""Directories where language agents keep their files, and the files that are held in them.

A directory is listed once a look for all processes that share it, and only what is held is looked
at in it; a file's content goes to the agent when it is another than before.
"""

from __future__ import annotations

import errno
import os
import stat
import time

from rover.foreign.walk import Identity, Refused, Walker, identity_of, open_file, read_opened
from rover.foreign.wire import (
    FILE,
    FOREIGN,
    LISTED,
    NO_FILE,
    NOBODY,
    SAME,
    TOO_MANY,
    TOUCHED,
    pack,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Final

MAX_FILE: Final = 65_536
"""Bytes; the backend drops properties over 50,000 UTF-16 units."""
MOST_NAMES: Final = 8_192
"""Entries that are listed at most, whatever is asked for."""
_MAX_NAME: Final = 10
_ROOT_UID: Final = 0
_LAST_TIME: Final = (1 << 63) - 1
"""Nanoseconds, in the year 2262."""
_TOLD_BURST: Final = 4_194_304
_TOLD_RATE: Final = 16_384
"""Bytes of contents at once, and a second: a file that is written anew at each look costs the
agent a bounded time to read it."""


class Held:
    """One file."""

    __slots__ = ("complaint", "digest", "key", "name", "signature")

    def __init__(self, directory: int, own_pid: int, uid: int) -> None:
        self.key = (directory, own_pid, uid)
        self.name = b"%d/metadata.properties" % own_pid
        self.signature: tuple[int, ...] = ()
        self.digest = 0
        self.complaint: str | None = None


class Directory:
    """One place."""

    __slots__ = ("held", "names")

    def __init__(self) -> None:
        self.held: dict[tuple[int, int], Held] = {}
        """By the pid that a process itself sees and its uid."""
        self.names: bytes | None = None
        """As they were told."""


class Places:
    """All of them; one thread uses it."""

    def __init__(
        self,
        proc: str,
        tell: Callable[[bytes], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with none.

        Args:
            proc: where the host's processes are.
            tell: sends a packet to the agent.
            clock: seconds that only grow.
        """
        self._proc = proc
        self._tell = tell
        self._clock = clock
        self._walker = Walker(proc)
        self._directories: dict[int, Directory] = {}
        self._allowance = float(_TOLD_BURST)
        self._allowed_at = clock()

    def look_over(self, numbers: list[int], path: bytes) -> None:
        """Answer `wire.LIST`: what is held there first, then what there is."""
        serial, number, namespace, mount, inode, most, *pids = numbers
        directory = self._directories.setdefault(number, Directory())
        try:
            opened = self._open(pids, namespace, Identity(mount, inode), path)
            try:
                for held in list(directory.held.values()):
                    self._look(0, opened, held)
                names = _names(opened, min(most, MOST_NAMES))
            finally:
                os.close(opened)
        except (OSError, Refused) as error:
            told, reason = _outcome(error)
            directory.names = None
            for held in list(directory.held.values()):
                self._none(0, held, "")
            self._tell(pack(LISTED, serial, number, told, text=reason.encode()))
            return
        if names is None:
            directory.names = None
            self._tell(pack(LISTED, serial, number, TOO_MANY))
        elif names == directory.names:
            self._tell(pack(LISTED, serial, number, SAME))
        else:
            directory.names = names
            self._tell(pack(LISTED, serial, number, 0, text=names))

    def hold(self, numbers: list[int], path: bytes) -> None:
        """Answer `wire.HOLD`."""
        serial, number, namespace, mount, inode, own_pid, uid, *pids = numbers
        directory = self._directories.setdefault(number, Directory())
        # as if it had never been seen: what the agent knew of it may be another process's
        held = directory.held[own_pid, uid] = Held(number, own_pid, uid)
        try:
            opened = self._open(pids, namespace, Identity(mount, inode), path)
        except (OSError, Refused) as error:
            self._none(serial, held, _outcome(error)[1])
            return
        try:
            self._look(serial, opened, held)
        finally:
            os.close(opened)

    def drop(self, numbers: list[int]) -> None:
        """Do as `wire.DROP` says."""
        number, own_pid, uid = numbers
        directory = self._directories.get(number)
        if directory:
            directory.held.pop((own_pid, uid), None)

    def leave(self, numbers: list[int]) -> None:
        """Do as `wire.LEAVE` says."""
        self._directories.pop(numbers[0], None)

    def _open(self, pids: list[int], namespace: int, wanted: Identity, path: bytes) -> int:
        """Open the place through the first process that still has that root."""
        for pid in pids:
            try:
                root = os.open(
                    f"{self._proc}/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
                )
            except PermissionError:
                raise
            except OSError:
                continue
            try:
                # a process that took over the pid may have another
                if identity_of(root) == wanted:
                    return self._walker.open_directory(pid, namespace, root, path)
            finally:
                os.close(root)
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))

    def _look(self, serial: int, opened: int, held: Held) -> None:
        """Look at one file; tell of it where it is asked for, or is another than before."""
        try:
            file = open_file(opened, held.name)
        except (FileNotFoundError, NotADirectoryError):
            self._none(serial, held, "")
            return
        except OSError as error:
            self._none(serial, held, _reason(error))
            return
        try:
            status = os.fstat(file)
            signature: tuple[int, ...] = (
                status.st_dev,
                status.st_ino,
                status.st_size,
                status.st_mtime_ns,
                status.st_ctime_ns,
            )
            if signature == held.signature and not serial:
                return
            complaint = _complaint(status, held.key[-1])
            content = b"" if complaint else read_opened(file, MAX_FILE + 1)
            if len(content) > MAX_FILE:
                complaint = f"larger than {MAX_FILE} bytes"
        except OSError as error:
            complaint, content, signature = _reason(error), b"", ()
        finally:
            os.close(file)
        if complaint:
            self._none(serial, held, complaint)
            held.signature = signature
            return
        digest = hash(content)
        # a file system may keep times of any year, 19 digits of seconds
        modified = max(-_LAST_TIME, min(status.st_mtime_ns, _LAST_TIME))
        numbers = (serial, *held.key, modified)
        if not serial and held.complaint is None and held.signature and digest == held.digest:
            held.signature = signature
            self._tell(pack(TOUCHED, *numbers))
        elif self._may_tell(len(content)):
            held.signature, held.digest, held.complaint = signature, digest, None
            self._tell(pack(FILE, *numbers, status.st_uid, text=content))
        else:
            # not looked at, so that the next look takes it for new
            self._none(serial, held, "too much is written anew; read later")

    def _none(self, serial: int, held: Held, reason: str) -> None:
        """Tell that there is no file that counts, once; hold no longer one that is not there."""
        held.signature = ()
        if not reason:
            number, own_pid, uid = held.key
            self._directories[number].held.pop((own_pid, uid), None)
        if serial or held.complaint != reason:
            held.complaint = reason
            self._tell(pack(NO_FILE, serial, *held.key, text=reason.encode()))

    def _may_tell(self, size: int) -> bool:
        now = self._clock()
        gained = (now - self._allowed_at) * _TOLD_RATE
        self._allowance = min(float(_TOLD_BURST), self._allowance + gained)
        self._allowed_at = now
        if self._allowance < size:
            return False
        self._allowance -= size
        return True


def _complaint(status: os.stat_result, uid: int) -> str:
    """Say what is wrong with a file before it is opened: opening a pipe already does something."""
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file"
    if status.st_uid not in {uid, _ROOT_UID}:
        return f"owned by uid {status.st_uid}, its process runs as {uid}"
    if status.st_size > MAX_FILE:
        return f"larger than {MAX_FILE} bytes"
    return ""


def _names(opened: int, most: int) -> bytes | None:
    """List the pids that a directory has entries for; None where it has more entries than that."""
    descriptor = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=opened)
    try:
        names = []
        for number, name in enumerate(_entries(descriptor)):
            if number >= most:
                return None
            if name.isascii() and name.isdigit() and len(name) <= _MAX_NAME:
                names.append(name)
    finally:
        os.close(descriptor)
    return " ".join(sorted(names)).encode()


def _entries(descriptor: int) -> Iterator[str]:
    with os.scandir(descriptor) as entries:
        for entry in entries:
            yield entry.name


def _outcome(error: OSError | Refused) -> tuple[int, str]:
    if isinstance(error, Refused):
        return FOREIGN, str(error)
    if isinstance(error, ProcessLookupError):
        return NOBODY, ""
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return error.errno, ""
    return error.errno or errno.EIO, _reason(error)


def _reason(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "a link"
    if error.errno == errno.EXDEV:
        return "another file system is mounted there"
    return error.strerror or "it cannot be read"
