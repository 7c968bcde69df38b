"""What the files below /proc/PID say, out of their text. Sources: proc(5)."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Final

from rover.clock import host_ticks
from rover.discovery.bounds import bounded_cgroup, bounded_text
from rover.model import Process, ProcessKey

PF_KTHREAD: Final = 0x00200000
"""Flag of kernel threads, field 9 of stat (include/linux/sched.h)."""
DELETED: Final = " (deleted)"
"""What the kernel puts behind the path of a file whose name is gone, once."""
DEFAULT_TMPDIR: Final = "/tmp"  # noqa: S108  what processes without a TMPDIR use; only looked at
TMPDIR_ROOM: Final = 2_048
"""Bytes of memory that a TMPDIR takes; one that takes more is none."""
_COMM_BYTES: Final = 15


@dataclass(frozen=True, slots=True)
class KernelThread:
    """A thread of the kernel: counted, never reported."""

    key: ProcessKey
    ppid: int
    name: str

    def as_process(self) -> Process:
        """Return it in the form of a process, for display beside others."""
        return Process(
            key=self.key,
            ppid=self.ppid,
            name=self.name,
            exe="",
            arguments=b"",
            cwd="",
            uid=0,
            cgroup="",
            pid_namespace=0,
            mount_namespace=0,
            namespace_pid=self.key.pid,
            image=0,
        )


@dataclass(frozen=True, slots=True)
class Stat:
    """What is used of /proc/PID/stat."""

    name: str
    state: str
    ppid: int
    kernel_thread: bool
    threads: int
    start_ticks: int
    image: int

    @property
    def ended(self) -> bool:
        """Whether only the exit status is left: no thread runs any more."""
        return self.state in "ZXx" and self.threads <= 1

    @property
    def leaderless(self) -> bool:
        """Whether the process goes on without its first thread."""
        return self.state in "Zx" and self.threads > 1


def parse_stat(text: bytes) -> Stat:
    """Read /proc/PID/stat; the name may hold blanks and brackets, so it ends at the last one.

    Raises:
        ValueError: the line is not one of stat.
    """
    opened, closed = text.find(b"("), text.rfind(b")")
    if opened < 0 or closed < opened:
        raise ValueError(f"not a stat line: {text[:80]!r}")
    # fields[0] is field 3 of proc(5)
    fields = text[closed + 2 :].split()
    try:
        # addresses of code, stack and data: new after an exec even of the same file, for the stack
        # is placed anew; those of the arguments are not among them, for setproctitle(3) moves them.
        # Zeros where ptrace access is denied: then the name has to do.
        layout = (*fields[23:26], *fields[42:45])
        name = text[opened + 1 : closed]
        return Stat(
            name=decode(name),
            state=fields[0].decode("ascii"),
            ppid=int(fields[1]),
            kernel_thread=bool(int(fields[6]) & PF_KTHREAD),
            threads=int(fields[17]),
            start_ticks=host_ticks(int(fields[19])),
            image=hash(layout if layout.count(b"0") < len(layout) - 1 else name),
        )
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"not a stat line: {text[:80]!r}") from error


def decode(text: bytes) -> str:
    """Decode what a process named itself; what is not UTF-8 becomes U+FFFD."""
    return text.decode("utf-8", "replace")


def parse_cgroup(text: bytes) -> str:
    """Give the lines of /proc/PID/cgroup that are kept, without the last one's end."""
    return bounded_cgroup(decode(text).rstrip("\n"))


def executable(link: str, name: str, arguments: bytes) -> str:
    """Take the kernel's mark off the path of a deleted executable, not off a name that ends so.

    Of a file named ``x (deleted)`` that exists the link reads like that of a deleted ``x``. Looking
    whether it exists would ask the file system, which may be another user's or a server that is
    away: even statx(2) through the link may (d_weak_revalidate of NFS and 9p). But the kernel names
    a process after its file when it starts, and whoever starts it mostly does so too.

    Args:
        link: what /proc/PID/exe reads.
        name: the process's comm.
        arguments: its command line.
    """
    path = link.removesuffix(DELETED)
    if path == link:
        return link
    marked, unmarked = (_comm(each.rpartition("/")[2]) for each in (link, path))
    if marked == unmarked:  # too long for the name to show how it ends
        first = decode(arguments.partition(b"\0")[0]).rpartition("/")[2]
        return link if first == link.rpartition("/")[2] else path
    return link if name == marked else path


def _comm(file: str) -> str:
    return decode(file.encode()[:_COMM_BYTES])


def kept_path(link: str) -> str:
    """Give the part of a path that is kept."""
    return bounded_text(decode(os.fsencode(link)))


def parse_status(text: bytes) -> tuple[int, int]:
    """Return the real uid and the innermost pid of /proc/PID/status; 0 for a missing NSpid."""
    # the name, the only free text, comes first and has its line feeds escaped
    uid = status_line(text, b"\nUid:")
    pids = status_line(text, b"\nNSpid:")
    return int(uid[0]) if uid else 0, int(pids[-1]) if pids else 0


def status_line(text: bytes, name: bytes) -> list[bytes]:
    """Return the words of a line of /proc/PID/status, none where there is no such line.

    Args:
        text: of the file.
        name: of the line, from the line feed before it to its colon.
    """
    begin = text.find(name)
    if begin < 0:
        return []
    begin += len(name)
    return text[begin : text.find(b"\n", begin)].split()


def absolute_tmpdir(named: bytes, cwd: str) -> str:
    """Return the directory for a process's files for a while, by its TMPDIR.

    An empty one, or one that takes more memory than serves for any, is none. A relative one begins
    at the working directory.
    """
    path = os.path.join(cwd or "/", os.fsdecode(named))  # noqa: PTH118  the text is what is wanted
    if named and path.startswith("/") and sys.getsizeof(path) <= TMPDIR_ROOM:
        return path.rstrip("/") or "/"
    return DEFAULT_TMPDIR
