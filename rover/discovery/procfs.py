"""Read one process out of /proc in few system calls.

All files are opened relative to the process's own directory: once the process is gone they fail,
so the facts of two processes that share a pid in turn never mix. Sources: proc(5).
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rover.clock import host_ticks
from rover.discovery.bounds import (
    ARGUMENTS_READ,
    GAP,
    bounded,
    bounded_cgroup,
    bounded_text,
    joined,
    spared,
)
from rover.model import Process, ProcessKey
from rover.redaction import Redaction

PF_KTHREAD: Final = 0x00200000
"""Flag of kernel threads, field 9 of stat (include/linux/sched.h)."""
FILE_BYTES: Final = 16_384
MAX_THREADS_TRIED: Final = 64
"""Of a process whose leader has ended: some may be on their way out, too."""
MAX_SHARED: Final = 1_024
"""Texts, and numbers, that are kept as one object each: enough for what many processes share. The
interpreter's own table of such strings has no bound, and takes 100 bytes for each."""
SHARED_ROOM: Final = 1_048_576
"""Bytes that such texts may take: the table keeps them longer than their processes live."""
DELETED: Final = " (deleted)"
"""What the kernel puts behind the path of a file whose name is gone, once."""
_COMM_BYTES: Final = 15
_SCHEDULER_CLOCK: Final = 2
"""CPUCLOCK_SCHED, nanoseconds that all threads have run (kernel/time/posix-cpu-timers.c)."""


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
    arguments_size: int = 0
    """Bytes of the arguments; 0 where ptrace access is denied."""

    @property
    def ended(self) -> bool:
        """Whether only the exit status is left: no thread runs any more."""
        return self.state in "ZXx" and self.threads <= 1

    @property
    def leaderless(self) -> bool:
        """Whether the process goes on without its first thread."""
        return self.state in "Zx" and self.threads > 1


@dataclass(slots=True)
class Unreadable:
    """What access rights kept back; the agent says so once."""

    times: int = 0
    files: set[str] = field(default_factory=set)
    """Names below /proc/PID."""

    def note(self, name: str) -> None:
        """Count one file that could not be read."""
        self.times += 1
        self.files.add(name)


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
            arguments_size=int(fields[46]) - int(fields[45]),
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


def _path(link: str) -> str:
    """Give the part of a path that is kept."""
    return bounded_text(decode(os.fsencode(link)))


def parse_status(text: bytes) -> tuple[int, int]:
    """Return the real uid and the innermost pid of /proc/PID/status; 0 for a missing NSpid."""
    # the name, the only free text, comes first and has its line feeds escaped
    uid = _status_line(text, b"\nUid:")
    pids = _status_line(text, b"\nNSpid:")
    return int(uid[0]) if uid else 0, int(pids[-1]) if pids else 0


def _status_line(text: bytes, name: bytes) -> list[bytes]:
    begin = text.find(name)
    if begin < 0:
        return []
    begin += len(name)
    return text[begin : text.find(b"\n", begin)].split()


class ProcReader:
    """Reads processes; strings that many share (paths, cgroups) are kept once.

    One thread uses it. `unreadable` counts what access rights hid.
    """

    def __init__(self, root: str = "/proc", redaction: Redaction | None = None) -> None:
        """Read below `root`; the redaction decides what of arguments is told."""
        self.root = root
        self._redaction = redaction or Redaction()
        self.unreadable = Unreadable()
        self.reads = 0
        self._numbers: dict[int, int] = {}
        """Parents, users and inodes: few, and each shared by many processes."""
        self._texts: dict[str, str] = {}
        """Names and paths, as far as they are."""
        self._texts_room = 0
        # a kernel may be built without them; otherwise a file that is not there means that the
        # process is not either
        self._absent = {
            name
            for name in ("cgroup", "ns/pid", "ns/mnt")
            if not os.path.lexists(f"{root}/self/{name}")
        }

    def mounts(self) -> str:
        """Read what is mounted where, as the agent sees it; empty where that cannot be read."""
        try:
            return Path(self.root, "self/mountinfo").read_text("utf-8", "replace")
        except OSError:
            return ""

    def stat(self, pid: int) -> Stat | None:
        """Read the one line that tells whether a process is the same; None when it is gone."""
        try:
            return parse_stat(_read(f"{self.root}/{pid}/stat", FILE_BYTES))
        except (FileNotFoundError, ProcessLookupError):
            return None
        except (OSError, ValueError):
            self.unreadable.note("stat")
            return None

    def cgroup(self, pid: int) -> str | None:
        """Read where a process is among the cgroups; None where that cannot be told now."""
        if "cgroup" in self._absent:
            return ""
        try:
            return parse_cgroup(_read(f"{self.root}/{pid}/cgroup", FILE_BYTES))
        except OSError:
            return None

    def is_as(self, known: Process) -> bool:
        """Tell whether what a process can change of itself is as it was; False where unsure.

        Half the price of `read`. Its cgroup, which others change, is not compared.
        """
        place = f"{self.root}/{known.pid}"
        try:
            status = _read(f"{place}/status", FILE_BYTES)
            arguments = _read(f"{place}/cmdline", 2 * ARGUMENTS_READ)
            if len(arguments) == 2 * ARGUMENTS_READ:
                return False  # of a long one both ends are wanted
            return (
                _status_line(status, b"\nPPid:") == [b"%d" % known.ppid]
                and parse_status(status)[0] == known.uid
                and decode(status[: status.find(b"\n")]) == f"Name:\t{known.name}"
                and (known.shortened or bounded(arguments.rstrip(b"\0")) == known.arguments)
                and _path(os.readlink(f"{place}/cwd")) == known.cwd  # noqa: PTH115
                and _path(os.readlink(f"{place}/exe")).removesuffix(DELETED)  # noqa: PTH115
                == known.exe.removesuffix(DELETED)
                and os.readlink(f"{place}/ns/mnt") == f"mnt:[{known.mount_namespace}]"  # noqa: PTH115
            )
        except (OSError, ValueError):
            return False

    @staticmethod
    def run_time(pid: int) -> int | None:
        """Tell for how long the threads of a process have run, nanoseconds; None where unknown.

        One system call that opens nothing, never waits and needs no rights: the clock that
        clock_getcpuclockid(3) names. What runs while it is asked may show in a later answer only,
        but then does.
        """
        try:
            return time.clock_gettime_ns((~pid << 3) | _SCHEDULER_CLOCK)
        except (OSError, OverflowError):
            return None

    def read(self, pid: int) -> Process | KernelThread | None:
        """Read all facts of a process; None when it is gone or only its exit status is left."""
        self.reads += 1
        try:
            directory = os.open(f"{self.root}/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return self._read_from(directory, pid)
        except (FileNotFoundError, ProcessLookupError):
            return None
        except (OSError, ValueError):
            # hidepid, an LSM, or no descriptors left: nothing can be said of this process now
            self.unreadable.note("stat")
            return None
        finally:
            os.close(directory)

    def _read_from(self, directory: int, pid: int) -> Process | KernelThread | None:
        stat = parse_stat(_read("stat", FILE_BYTES, directory))
        key = ProcessKey(pid, stat.start_ticks)
        if stat.ended:
            return None
        if stat.kernel_thread:
            return KernelThread(key, stat.ppid, self._text_of(stat.name))
        # of the leader, though it may have ended: a thread's has the thread's own id for NSpid
        uid, namespace_pid = parse_status(self._text("status", directory))
        base = (key, stat, uid, pid if namespace_pid in (0, pid) else namespace_pid)
        if not stat.leaderless:
            try:
                process = self._facts(directory, *base, leaderless=False)
            except FileNotFoundError:
                process = None
            if process and (process.command_line or stat.threads <= 1):
                return process
        if stat.threads <= 1:
            raise ProcessLookupError(pid)
        # the leader has ended, or has let go of its memory and is about to; its threads live on and
        # still hold what it held
        return self._facts_of_a_thread(directory, *base)

    def _facts_of_a_thread(
        self, directory: int, key: ProcessKey, stat: Stat, uid: int, namespace_pid: int
    ) -> Process:
        """Read through the first thread that lives; no other than the leader means gone."""
        tasks = os.open("task", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
        try:
            others = [thread for thread in os.listdir(tasks) if thread != str(key.pid)]  # noqa: PTH208 - of a descriptor
            for thread in others[:MAX_THREADS_TRIED]:
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    opened = os.open(thread, os.O_PATH | os.O_CLOEXEC, dir_fd=tasks)
                    try:
                        return self._facts(opened, key, stat, uid, namespace_pid, leaderless=True)
                    finally:
                        os.close(opened)
        finally:
            os.close(tasks)
        raise ProcessLookupError(key.pid)

    def _facts(
        self,
        directory: int,
        key: ProcessKey,
        stat: Stat,
        uid: int,
        namespace_pid: int,
        *,
        leaderless: bool,
    ) -> Process:
        seen, safe = self._arguments(directory, stat.arguments_size)
        exe = executable(self._link("exe", directory), stat.name, seen)
        arguments, told = bounded(seen), bounded(self._redaction.arguments(spared(safe)))
        return Process(
            key=key,
            ppid=self._number_of(stat.ppid),
            name=self._text_of(stat.name),
            exe=self._text_of(bounded_text(exe)),
            arguments=arguments,
            redacted=None if told == arguments else told,
            cwd=self._text_of(bounded_text(self._link("cwd", directory))),
            uid=self._number_of(uid),
            cgroup=self._text_of(parse_cgroup(self._text("cgroup", directory))),
            pid_namespace=self._namespace("ns/pid", directory),
            mount_namespace=self._namespace("ns/mnt", directory),
            namespace_pid=namespace_pid,
            image=stat.image,
            leaderless=leaderless,
        )

    def _arguments(self, directory: int, size: int) -> tuple[bytes, bytes]:
        """Read the arguments, of long ones both ends.

        Returns:
            What is seen by whoever names the process, and what may be told once its secrets are
            masked. The two differ by an argument whose beginning was not read.
        """
        head = self._text("cmdline", directory, 2 * ARGUMENTS_READ)
        # a rewritten command line may end in many NULs
        if len(head) < 2 * ARGUMENTS_READ or size <= len(head):
            return (whole := head.rstrip(b"\0")), whole
        head = head[:ARGUMENTS_READ]
        tail = self._text("cmdline", directory, ARGUMENTS_READ, size - ARGUMENTS_READ)
        return head + GAP + tail.rstrip(b"\0"), joined(head, tail)

    def _text(self, name: str, directory: int, limit: int = FILE_BYTES, at: int = 0) -> bytes:
        if name in self._absent:
            return b""
        try:
            return _read(name, limit, directory, at)
        except PermissionError:
            self.unreadable.note(name)
            return b""

    def _link(self, name: str, directory: int) -> str:
        # a thread in its exit has no exe and no cwd any more: FileNotFoundError, it counts as gone
        if name in self._absent:
            return ""
        try:
            return decode(os.fsencode(os.readlink(name, dir_fd=directory)))
        except PermissionError:
            # the kernel's answer for a process that has just been reaped, too (proc_pid_readlink)
            _read("stat", FILE_BYTES, directory)
            self.unreadable.note(name)
            return ""
        except OSError as error:
            # a directory deeper than a page of text can name: no reason to report no process
            if error.errno != errno.ENAMETOOLONG:
                raise
            return ""

    def _namespace(self, name: str, directory: int) -> int:
        return self._number_of(_inode(self._link(name, directory)))

    def _number_of(self, number: int) -> int:
        """Give the one object for a number that many share."""
        if len(self._numbers) >= MAX_SHARED:
            self._numbers.clear()
        return self._numbers.setdefault(number, number)

    def _text_of(self, text: str) -> str:
        """Give the one object for a text that many share."""
        if len(self._texts) >= MAX_SHARED or self._texts_room > SHARED_ROOM:
            self._texts.clear()
            self._texts_room = 0
        shared = self._texts.setdefault(text, text)
        if shared is text:
            self._texts_room += sys.getsizeof(text)
        return shared


def _read(path: str, limit: int, directory: int | None = None, at: int = 0) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return os.pread(descriptor, limit, at)
    finally:
        os.close(descriptor)


def _inode(link: str) -> int:
    number = link.rpartition("[")[2].removesuffix("]")
    return int(number) if number.isdigit() else 0
