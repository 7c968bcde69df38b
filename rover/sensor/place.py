"""Where the agent inside a process would keep its file: below the process's own TMPDIR.

The same path is another directory in another mount namespace (a container, a service with
PrivateTmp=) and under another root (chroot), and one directory for all processes that share both.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from rover.sensor.rooted import file_system, may_hang, open_directory, open_root

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rover.model import Process

_BELOW_TMPDIR: Final = "apache_skywalking/process"
_DEFAULT_TMPDIR: Final = "/tmp"  # noqa: S108  what processes without a TMPDIR use; only looked at
_MAX_PATH: Final = 4096
_MAX_ENVIRON: Final = 131_072
"""Bytes; a TMPDIR beyond them is not seen."""
_MAX_MOUNTINFO: Final = 1_048_576
_DOORS: Final = 4
"""Processes through whose root one directory is tried; some may just have ended."""


class Place(NamedTuple):
    """A TMPDIR, told from all others of the same path."""

    mount_namespace: int
    device: int
    root: int
    """Inode of the root directory; with the device it tells a chroot from its host."""
    tmpdir: str


def place_of(proc: str, process: Process) -> Place:
    """Find a process's TMPDIR by the environment that it was started with.

    Raises:
        PermissionError: ptrace access to the process is denied.
        OSError: the process has ended.
    """
    directory = f"{proc}/{process.pid}"
    environ = _read(f"{directory}/environ", _MAX_ENVIRON)
    root = os.stat(f"{directory}/root")  # noqa: PTH116  a third of the cost, at every new process
    tmpdir = tmpdir_of(environ, process.cwd)
    return Place(process.mount_namespace, root.st_dev, root.st_ino, tmpdir)


def tmpdir_of(environ: bytes, cwd: str) -> str:
    """Return the directory for temporary files that an environment names, as an absolute path.

    The first of several counts, as for getenv(3); an empty one or one that is too long for a path
    is none. A relative one begins at the working directory.
    """
    for variable in environ.split(b"\0"):
        if variable.startswith(b"TMPDIR="):
            named = os.fsdecode(variable.removeprefix(b"TMPDIR="))
            path = os.path.join(cwd or "/", named)  # noqa: PTH118  the text is what is wanted
            if named and path.startswith("/") and len(path) < _MAX_PATH:
                return path.rstrip("/") or "/"
            break
    return _DEFAULT_TMPDIR


def open_place(proc: str, place: Place, pids: Iterable[int]) -> int:
    """Open the directory of agents' files below a TMPDIR, for reading.

    Args:
        proc: Where the host's processes are.
        place: The TMPDIR.
        pids: Processes that use it; the first ones that still run are entered.

    Raises:
        ProcessLookupError: none of them could be entered.
        OSError: there is no such directory, or access to it is denied.
    """
    for _, pid in zip(range(_DOORS), pids, strict=False):
        try:
            root = open_root(proc, pid)
        except OSError:
            continue
        try:
            status = os.fstat(root)
            # A process that took over the pid may have another root.
            if (status.st_dev, status.st_ino) == (place.device, place.root):
                return open_directory(root, f"{place.tmpdir}/{_BELOW_TMPDIR}")
        finally:
            os.close(root)
    raise ProcessLookupError


def hanging_file_system(proc: str, pid: int, path: str) -> str:
    """Tell the type of the file system that a process has at a path, if a look there may hang.

    Returns:
        Such as ``nfs4``; "" where the file system is local or cannot be told.
    """
    try:
        mountinfo = _read(f"{proc}/{pid}/mountinfo", _MAX_MOUNTINFO)
    except OSError:
        return ""
    found = file_system(os.fsdecode(mountinfo), path)
    return found if may_hang(found) else ""


def _read(path: str, limit: int) -> bytes:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123  as above
        content = b""
        # Of a long file of the kernel one read brings a part.
        while len(content) < limit and (part := file.read(limit - len(content))):
            content += part
        return content
