"""What lies in another process's own memory: its arguments and its environment.

The kernel fetches both out of the process's pages as they are asked for (access_remote_vm), and
waits for the file behind a page where the process put one there.
"""

from __future__ import annotations

import os

from rover.foreign.walk import Identity, identity_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

MAX_ENVIRON: Final = 2_097_152
"""Bytes; a pod with links to a thousand services has 300 KiB of variables."""
MAX_ARGUMENTS: Final = 6_291_456
"""Bytes; the kernel takes three quarters of the largest stack (_STK_LIM, 8 MiB) for strings."""
MAX_TMPDIR: Final = 4_095
"""PATH_MAX without its NUL."""
_VARIABLE: Final = b"\0TMPDIR="
_CHUNK: Final = 65_536


class Strings:
    """What was found of one process; an errno in place of what could not be read."""

    __slots__ = ("command_line", "command_line_errno", "place_errno", "root", "tail", "tmpdir")

    def __init__(self) -> None:
        self.command_line = b""
        self.tail = b""
        self.command_line_errno = 0
        self.place_errno = 0
        self.root = Identity(0, 0)
        self.tmpdir = b""


def strings_of(proc: str, thread: int, limit: int, *, with_place: bool) -> Strings:
    """Read a thread's command line, and what tells where its files for a while are.

    Args:
        proc: where the host's processes are.
        thread: a process's id or that of one of its threads.
        limit: bytes of each end of the command line at most; one that is no longer than both is
            read as a whole.
        with_place: whether to look for the root and TMPDIR as well.
    """
    found = Strings()
    directory = f"{proc}/{thread}"
    try:
        descriptor = os.open(f"{directory}/cmdline", os.O_RDONLY | os.O_CLOEXEC)
        try:
            found.command_line, found.tail = _both_ends(descriptor, limit)
        finally:
            os.close(descriptor)
    except OSError as error:
        found.command_line_errno = error.errno or 1
    if with_place:
        try:
            found.tmpdir = tmpdir_of(f"{directory}/environ")
            root = os.open(f"{directory}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                found.root = identity_of(root)
            finally:
                os.close(root)
        except OSError as error:
            found.place_errno = error.errno or 1
    return found


def _both_ends(descriptor: int, limit: int) -> tuple[bytes, bytes]:
    head = os.read(descriptor, 2 * limit)
    if len(head) < 2 * limit:
        return head, b""
    head, end, read = head[:limit], head[limit:], 2 * limit
    while read < MAX_ARGUMENTS and (part := os.read(descriptor, _CHUNK)):
        read += len(part)
        end = (end + part)[-limit:]
    return head, end


def tmpdir_of(path: str) -> bytes:
    """Return the first TMPDIR of an environment as getenv(3) finds it, empty where there is none.

    One that is too long for a path is none.

    Raises:
        OSError: the environment cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # the first variable begins as all others do
        rest, read = b"\0", 0
        while read < MAX_ENVIRON and (part := os.read(descriptor, _CHUNK)):
            read += len(part)
            rest += part
            begin = rest.find(_VARIABLE)
            if begin < 0:
                rest = rest[-len(_VARIABLE) :]
                continue
            value = rest[begin + len(_VARIABLE) :]
            end = value.find(b"\0")
            if end >= 0:
                return value[:end] if end <= MAX_TMPDIR else b""
            if len(value) > MAX_TMPDIR:
                return b""
            rest = rest[begin:]
        begin = rest.find(_VARIABLE)
        return rest[begin + len(_VARIABLE) :] if begin >= 0 else b""
    finally:
        os.close(descriptor)
