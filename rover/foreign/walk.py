"""Walk below a process's root without being led elsewhere, onto local file systems alone.

What lies there was written by that process. So every step is looked at before the next is made:
links are followed where root made them and only within that root, `..` in a path is refused, and a
mount is entered only when its type is known to be served by this kernel: a look at any other may
wait for a server that is away, or for one that the process's user runs. Opening a directory by
O_PATH asks nothing of its file system; what is mounted there tells the kernel's mount table.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

LOCAL: Final = frozenset(
    b"aufs bcachefs btrfs devtmpfs erofs exfat ext2 ext3 ext4 f2fs hfsplus iso9660 jfs msdos"
    b" nilfs2 ntfs3 overlay ramfs reiserfs rootfs squashfs tmpfs ubifs udf ufs vfat xfs zfs".split()
)
"""File systems that wait for a disk at most. Whatever is not here is not entered: a new network
file system is unknown before it is known to hang."""
MAX_STEPS: Final = 64
MAX_LINKS: Final = 4
_ROOT_UID: Final = 0
_KEPT_S: Final = 30.0
_MAX_KEPT: Final = 4_096
_MAX_MOUNTINFO: Final = 4_194_304

_SYS_OPENAT2: Final = 437
"""One number for all architectures but alpha; Linux 5.6."""
_NO_XDEV: Final = 0x01
_NO_MAGICLINKS: Final = 0x02
_NO_SYMLINKS: Final = 0x04
_BENEATH: Final = 0x08
_PATH: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY: Final = _PATH | os.O_DIRECTORY


class Refused(Exception):  # noqa: N818  not an error: a path that is not walked
    """A path leads where the walk does not go; the text says what is there."""


class Identity:
    """What tells one root directory from another."""

    __slots__ = ("inode", "mount")

    def __init__(self, mount: int, inode: int) -> None:
        self.mount = mount
        self.inode = inode

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and (self.mount, self.inode) == (
            other.mount,
            other.inode,
        )

    def __hash__(self) -> int:
        return hash((self.mount, self.inode))


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


_libc = ctypes.CDLL(None, use_errno=True)


def identity_of(descriptor: int) -> Identity:
    """Tell the mount and inode of an open file without asking its file system (fdinfo, proc(5))."""
    found = {}
    for line in _read(f"/proc/self/fdinfo/{descriptor}", 4_096).split(b"\n"):
        name, _, value = line.partition(b":")
        found[name] = value
    inode = found.get(b"ino")
    # before Linux 5.14 there is no such line
    return Identity(int(found[b"mnt_id"]), int(inode) if inode else os.fstat(descriptor).st_ino)


class Walker:
    """Opens directories of processes; remembers for a while what is mounted where."""

    def __init__(self, proc: str) -> None:
        self._proc = proc
        self._types: dict[tuple[int, int], tuple[float, bytes]] = {}

    def open_directory(self, pid: int, namespace: int, root: int, path: bytes) -> int:
        """Open a directory below a root; the descriptor serves to open what is in it.

        Args:
            pid: a process of that root.
            namespace: its mount namespace.
            root: its open root directory.
            path: absolute.

        Raises:
            Refused: see there.
            OSError: there is no such directory, or access is denied.
        """
        opened = self.open(pid, namespace, root, path)
        try:
            return os.open(b".", _DIRECTORY, dir_fd=opened)
        finally:
            os.close(opened)

    def open(self, pid: int, namespace: int, root: int, path: bytes) -> int:
        """Open whatever lies at a path, by O_PATH; otherwise as `open_directory`."""
        steps = _steps(path)
        if b".." in steps:
            raise Refused("the path leads upwards")
        if len(steps) > MAX_STEPS:
            raise Refused(f"the path has {len(steps)} steps")
        self._check(pid, namespace, identity_of(root).mount)
        try:
            return _openat2(root, b"/".join(steps) or b".")
        except OSError as error:
            # a mount or a link on the way, or no such call
            if error.errno not in {errno.EXDEV, errno.ELOOP, errno.ENOSYS, errno.EPERM}:
                raise
        return self._by_steps(pid, namespace, root, steps)

    def _by_steps(self, pid: int, namespace: int, root: int, steps: list[bytes]) -> int:
        # the directories from the root to where the walk is, so that `..` in a link is a step back
        trail, steps, made, links = [os.dup(root)], list(reversed(steps)), 0, 0
        try:
            while steps:
                step = steps.pop()
                made += 1
                if made > MAX_STEPS:
                    raise Refused(f"more than {MAX_STEPS} steps")
                if step == b"..":
                    if len(trail) > 1:
                        os.close(trail.pop())
                    continue
                opened = os.open(step, _PATH, dir_fd=trail[-1])
                trail.append(opened)
                self._check(pid, namespace, identity_of(opened).mount)
                status = os.fstat(opened)
                if stat.S_ISLNK(status.st_mode):
                    links += 1
                    if status.st_uid != _ROOT_UID or links > MAX_LINKS:
                        raise Refused(
                            f"it leads through a link of uid {status.st_uid}"
                            if status.st_uid
                            else f"it leads through more than {MAX_LINKS} links"
                        )
                    target = os.readlink(b"", dir_fd=opened)
                    os.close(trail.pop())
                    if target.startswith(b"/"):
                        while len(trail) > 1:
                            os.close(trail.pop())
                    steps.extend(reversed(_steps(target)))
            return trail.pop()
        finally:
            for opened in trail:
                os.close(opened)

    def _check(self, pid: int, namespace: int, mount: int) -> None:
        """Refuse a mount that is not known to be local."""
        key, now = (namespace, mount), time.monotonic()
        known = self._types.get(key)
        if known is None or now > known[0]:
            if len(self._types) >= _MAX_KEPT:
                self._types.clear()
            table = mount_types(_read(f"{self._proc}/{pid}/mountinfo", _MAX_MOUNTINFO))
            known = self._types[key] = (now + _KEPT_S, table.get(mount, b"unknown"))
        if known[1] not in LOCAL:
            raise Refused(f"file system {known[1].decode('ascii', 'replace')}")


def mount_types(mountinfo: bytes) -> dict[int, bytes]:
    """Return the type of each mount by its id, from /proc/PID/mountinfo (proc(5))."""
    types = {}
    for line in mountinfo.split(b"\n"):
        mount, _, source = line.partition(b" - ")
        number = mount.partition(b" ")[0]
        if number.isdigit() and source:
            types[int(number)] = source.partition(b" ")[0]
    return types


def open_file(directory: int, path: bytes) -> int:
    """Open what lies at a path below a directory by O_PATH: no link, no other mount on the way.

    Raises:
        OSError: there is none, or something is in the way: a link (ELOOP), a mount (EXDEV).
    """
    try:
        return _openat2(directory, path)
    except OSError as error:
        if error.errno not in {errno.ENOSYS, errno.EPERM}:
            raise
    mount, opened = identity_of(directory).mount, os.dup(directory)
    try:
        for step in _steps(path):
            below = os.open(step, _PATH, dir_fd=opened)
            os.close(opened)
            opened = below
            if identity_of(opened).mount != mount:
                raise OSError(errno.EXDEV, "a mount is in the way")
            if stat.S_ISLNK(os.fstat(opened).st_mode):
                raise OSError(errno.ELOOP, "a link is in the way")
        return os.dup(opened)
    finally:
        os.close(opened)


def read_opened(opened: int, limit: int) -> bytes:
    """Read at most so many bytes of a regular file that was opened by O_PATH.

    Raises:
        OSError: it cannot be read, or another process holds a lease on it (EAGAIN).
    """
    return _read(f"/proc/self/fd/{opened}", limit, os.O_NONBLOCK)


def _steps(path: bytes) -> list[bytes]:
    return [step for step in path.split(b"/") if step not in {b"", b"."}]


def _openat2(directory: int, path: bytes) -> int:
    """Open by O_PATH: below the directory, on its mount, through no link."""
    # with O_NOFOLLOW a link at the end would be opened itself
    how = _OpenHow(os.O_PATH | os.O_CLOEXEC, 0, _BENEATH | _NO_XDEV | _NO_SYMLINKS | _NO_MAGICLINKS)
    opened: int = _libc.syscall(
        _SYS_OPENAT2, directory, path, ctypes.byref(how), ctypes.sizeof(how)
    )
    if opened < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return opened


def _read(path: str, limit: int, flags: int = 0) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    try:
        content = b""
        # of a long file of the kernel one read brings a part
        while len(content) < limit and (part := os.read(descriptor, limit - len(content))):
            content += part
        return content
    finally:
        os.close(descriptor)
