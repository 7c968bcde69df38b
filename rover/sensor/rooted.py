"""Open files as another process sees them, through /proc/PID/root, without being led elsewhere.

What lies there was written by that process: an absolute link would lead into the agent's own tree,
a pipe would make it wait, a file could have no end. So links are resolved inside the process's
root, or refused, and a file is looked at before it is opened for reading.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import stat
from functools import cache
from typing import Final

_SYS_OPENAT2: Final = 437
"""One number for all architectures but alpha; Linux 5.6."""
_RESOLVE_NO_MAGICLINKS: Final = 0x02
_RESOLVE_NO_SYMLINKS: Final = 0x04
_RESOLVE_BENEATH: Final = 0x08
_RESOLVE_IN_ROOT: Final = 0x10

_MAY_HANG: Final = frozenset({"9p", "afs", "autofs", "ceph", "cifs", "nfs", "nfs4", "smb3"})
"""File systems that wait for a server, as fuse does: a dead one would hold the agent for ever."""
_OCTAL: Final = re.compile(r"\\([0-7]{3})")
_MOUNTINFO_FIELDS: Final = 5


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


def open_root(proc: str, pid: int) -> int:
    """Open a process's root directory; the descriptor only serves the functions below.

    Raises:
        OSError: the process is gone, or ptrace access to it is denied.
    """
    return os.open(f"{proc}/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def open_directory(root: int, path: str) -> int:
    """Open a directory by its path in that root; links in it are resolved there.

    Raises:
        OSError: there is none, access is denied, or the kernel cannot follow links so (before
            Linux 5.6) and there is one.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK
    return _open(root, path, flags, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)


def read_file(directory: int, path: str, limit: int) -> tuple[os.stat_result, bytes]:
    """Read a regular file below a directory, following no link at all.

    Returns:
        Its state and its content, at most `limit` bytes.

    Raises:
        OSError: it cannot be opened, or is no regular file (EINVAL).
    """
    seen = _open(
        directory, path, os.O_PATH | os.O_NOFOLLOW, _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS
    )
    try:
        # Only looked at so far: opening a pipe or a device would already do something.
        if not stat.S_ISREG(os.fstat(seen).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        opened = os.open(f"/proc/self/fd/{seen}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(seen)
    try:
        return os.fstat(opened), os.read(opened, limit)
    finally:
        os.close(opened)


def file_system(mountinfo: str, path: str) -> str:
    """Tell the type of the file system that a path without links lies on, "" where unknown.

    Args:
        mountinfo: Lines of the process's /proc/PID/mountinfo, whose mount points begin at its root.
        path: An absolute path in that root.
    """
    wanted = os.path.normpath(path) + "/"
    best, found = -1, ""
    for line in mountinfo.splitlines():
        mount, _, source = line.partition(" - ")
        fields = mount.split(" ")
        if len(fields) < _MOUNTINFO_FIELDS or not source:
            continue
        point = _OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4]).rstrip("/") + "/"
        # Of two mounts on one point the later line covers the earlier.
        if wanted.startswith(point) and len(point) >= best:
            best, found = len(point), source.split(" ")[0]
    return found


def may_hang(file_system_type: str) -> bool:
    """Tell whether a look at a file there may wait for somebody else's server."""
    return file_system_type in _MAY_HANG or file_system_type.partition(".")[0] == "fuse"


def _open(directory: int, path: str, flags: int, resolve: int) -> int:
    if _has_openat2():
        return _openat2(directory, path, flags | os.O_CLOEXEC, resolve)
    return _open_by_steps(directory, path, flags | os.O_CLOEXEC)


def _openat2(directory: int, path: str, flags: int, resolve: int) -> int:
    how = _OpenHow(flags, 0, resolve)
    opened: int = _libc().syscall(
        _SYS_OPENAT2, directory, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how)
    )
    if opened < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return opened


def _open_by_steps(directory: int, path: str, flags: int) -> int:
    """Open one component after the other and follow no link, for kernels without openat2."""
    steps = [step for step in path.split("/") if step not in {"", "."}]
    if not steps or ".." in steps:
        raise OSError(errno.EXDEV, "a path that leads upwards is not followed", path)
    opened = os.dup(directory)
    try:
        for step in steps[:-1]:
            below = os.open(
                step, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=opened
            )
            os.close(opened)
            opened = below
        return os.open(steps[-1], flags | os.O_NOFOLLOW, dir_fd=opened)
    finally:
        os.close(opened)


@cache
def _has_openat2() -> bool:
    """Try it: old kernels lack it, and some containers' seccomp profiles deny it."""
    here = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.close(_openat2(here, ".", os.O_PATH | os.O_CLOEXEC, _RESOLVE_BENEATH))
    except OSError:
        return False
    finally:
        os.close(here)
    return True


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
