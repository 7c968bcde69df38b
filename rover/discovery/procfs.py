"""Read one process out of /proc in few system calls.

All files are opened relative to the process's own directory: once the process is gone they fail,
so the facts of two processes that share a pid in turn never mix. What a process may have put on
another's file system, its arguments and its environment, is not read here but asked for
(`rover.foreign`); the links exe, cwd and ns/* are names that the kernel has in memory, whatever
they lead to. Sources: proc(5).
"""

from __future__ import annotations

import errno
import os
import resource
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rover.foreign.direct import DirectReads
from rover.model import Place, Process, ProcessKey

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rover.foreign.blame import Blame
    from rover.foreign.direct import Strings
    from rover.foreign.records import Found

PF_KTHREAD: Final = 0x00200000
"""Flag of kernel threads, field 9 of stat (include/linux/sched.h)."""
COMMAND_LINE_BYTES: Final = 65_536
"""More than the backend takes of all properties together (50,000 UTF-16 units)."""
FILE_BYTES: Final = 16_384
MAX_SHARED: Final = 1_024
"""Texts, and numbers, that are kept as one object each: enough for what many processes share. The
interpreter's own table of such strings has no bound, and takes 100 bytes for each."""
DELETED: Final = " (deleted)"
DEFAULT_TMPDIR: Final = "/tmp"  # noqa: S108  what processes without a TMPDIR use; only looked at
MAX_PATH: Final = 4_096
AHEAD: Final = 64
"""Processes that are begun before they are read, so that their answers come together."""


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
            command_line="",
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
        # is placed anew. Zeros where ptrace access is denied: then the name has to do.
        layout = (*fields[23:26], *fields[42:49])
        name = text[opened + 1 : closed]
        return Stat(
            name=decode(name),
            state=fields[0].decode("ascii"),
            ppid=int(fields[1]),
            kernel_thread=bool(int(fields[6]) & PF_KTHREAD),
            threads=int(fields[17]),
            start_ticks=int(fields[19]),
            image=hash(layout if layout.count(b"0") < len(layout) - 1 else name),
        )
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"not a stat line: {text[:80]!r}") from error


def decode(text: bytes) -> str:
    """Decode what a process named itself; what is not UTF-8 becomes U+FFFD."""
    return text.decode("utf-8", "replace")


def parse_command_line(text: bytes) -> str:
    """Join the arguments by blanks; a rewritten command line may end in many NULs."""
    return decode(text.rstrip(b"\0").replace(b"\0", b" "))


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


@dataclass(slots=True)
class _Begun:
    """A process of which the first facts are read and the rest is asked for."""

    directory: int
    stat: Stat
    uid: int = 0
    namespace_pid: int = 0
    mount_namespace: int = 0
    blame: Blame | None = None
    serial: int = 0


class ProcReader:
    """Reads processes; strings that many share (paths, cgroups) are kept once.

    One thread uses it. `unreadable` counts what access rights hid.
    """

    def __init__(
        self, root: str = "/proc", strings: Strings | None = None, *, with_place: bool = False
    ) -> None:
        """Read what is below a directory.

        Args:
            root: where the host's processes are.
            strings: reads what processes have in their own memory; None: this process itself does,
                and may wait for a hostile one without end.
            with_place: whether to tell where language agents in them keep their files.
        """
        self.root = root
        self._strings = strings or DirectReads(root)
        self._with_place = with_place
        self._begun: dict[int, _Begun | None] = {}
        # each has a descriptor until it is read
        self._ahead = min(AHEAD, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 8)
        self._places: dict[Place, Place] = {}
        self.unreadable = Unreadable()
        self.reads = 0
        self._numbers: dict[int, int] = {}
        """Parents, users and inodes: few, and each shared by many processes."""
        self._texts: dict[str, str] = {}
        """Names and paths, as far as they are."""
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

    def ahead(self, pids: Iterable[int]) -> None:
        """Begin to read processes that will be read next, AHEAD of them at most."""
        self.forget_begun()
        for _, pid in zip(range(self._ahead), pids, strict=False):
            if pid not in self._begun:
                self._begun[pid] = self._begin(pid)
        self._ask([begun for begun in self._begun.values() if begun])

    def forget_begun(self) -> None:
        """Let go of what was begun and not read."""
        for begun in self._begun.values():
            if begun:
                os.close(begun.directory)
        self._begun.clear()

    def read(self, pid: int) -> Process | KernelThread | None:
        """Read all facts of a process; None when it is gone or only its exit status is left."""
        self.reads += 1
        if pid in self._begun:
            begun = self._begun.pop(pid)
        else:
            begun = self._begin(pid)
            if begun:
                self._ask([begun])
        if begun is None:
            return None
        try:
            return self._finish(begun, pid)
        except (FileNotFoundError, ProcessLookupError):
            return None
        except (OSError, ValueError):
            self.unreadable.note("stat")
            return None
        finally:
            os.close(begun.directory)

    def _begin(self, pid: int) -> _Begun | None:
        """Open a process and read what cannot wait."""
        try:
            directory = os.open(f"{self.root}/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            begun = self._first_facts(directory, pid)
        except (FileNotFoundError, ProcessLookupError):
            begun = None
        except (OSError, ValueError):
            # hidepid, an LSM, or no descriptors left: nothing can be said of this process now
            self.unreadable.note("stat")
            begun = None
        if begun is None:
            os.close(directory)
        return begun

    def _first_facts(self, directory: int, pid: int) -> _Begun | None:
        begun = _Begun(directory, parse_stat(_read("stat", FILE_BYTES, directory)))
        stat = begun.stat
        if stat.ended:
            return None
        if stat.kernel_thread:
            return begun
        # of the leader, though it may have ended: a thread's has the thread's own id for NSpid
        begun.uid, begun.namespace_pid = parse_status(self._text("status", directory))
        thread = pid
        if stat.leaderless:
            # the leader has ended, its threads live on and still hold what it held
            thread = self._living_thread(directory, pid)
        begun.mount_namespace = self._namespace("ns/mnt", directory)
        begun.blame = self._strings.blame(thread, begun.uid, begun.mount_namespace)
        return begun

    def _ask(self, several: list[_Begun]) -> None:
        asked = [(begun, begun.blame) for begun in several if begun.blame]
        serials = self._strings.ask(
            [blame for _, blame in asked], COMMAND_LINE_BYTES, with_place=self._with_place
        )
        for (begun, _), serial in zip(asked, serials, strict=True):
            begun.serial = serial

    def _finish(self, begun: _Begun, pid: int) -> Process | KernelThread | None:
        stat, directory, blame = begun.stat, begun.directory, begun.blame
        key = ProcessKey(pid, stat.start_ticks)
        if blame is None:
            return KernelThread(key, stat.ppid, self._text_of(stat.name))
        cwd = self._text_of(self._link("cwd", directory))
        cgroup = self._text_of(decode(self._text("cgroup", directory)).rstrip("\n"))
        pid_namespace = self._namespace("ns/pid", directory)
        found = self._strings.answer(begun.serial)
        # Last: a process that still has an executable has had its pid all the time, so what was
        # found by that is its own.
        exe = self._link("exe", directory).removesuffix(DELETED)
        return Process(
            key=key,
            ppid=self._number_of(stat.ppid),
            name=self._text_of(stat.name),
            exe=self._text_of(exe),
            command_line=parse_command_line(self._command_line(found)),
            cwd=cwd,
            uid=self._number_of(begun.uid),
            cgroup=cgroup,
            pid_namespace=pid_namespace,
            mount_namespace=begun.mount_namespace,
            namespace_pid=pid if begun.namespace_pid in (0, pid) else begun.namespace_pid,
            image=stat.image,
            leaderless=stat.leaderless,
            place=self._place(found, begun, cwd) if self._with_place and found else None,
            late="" if found else self._strings.why_late(blame),
        )

    def _command_line(self, found: Found | None) -> bytes:
        if found is None:
            return b""
        if found.command_line_errno in {errno.EACCES, errno.EPERM}:
            self.unreadable.note("cmdline")
        elif found.command_line_errno in {errno.ENOENT, errno.ESRCH}:
            raise ProcessLookupError
        return found.command_line

    def _place(self, found: Found, begun: _Begun, cwd: str) -> Place | None:
        tmpdir = "" if found.place_errno else absolute_tmpdir(found.tmpdir, cwd)
        place = Place(begun.mount_namespace, found.root_mount, found.root_inode, tmpdir)
        if len(self._places) >= MAX_SHARED:
            self._places.clear()
        return self._places.setdefault(place, place)

    @staticmethod
    def _living_thread(directory: int, pid: int) -> int:
        """Point `directory` at another thread than the leader, and return it; none means gone."""
        tasks = os.open("task", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
        try:
            for thread in os.listdir(tasks):  # noqa: PTH208 - of a descriptor
                if thread != str(pid):
                    opened = os.open(thread, os.O_PATH | os.O_CLOEXEC, dir_fd=tasks)
                    os.dup2(opened, directory, inheritable=False)
                    os.close(opened)
                    return int(thread)
        finally:
            os.close(tasks)
        raise ProcessLookupError(pid)

    def _text(self, name: str, directory: int) -> bytes:
        if name in self._absent:
            return b""
        try:
            return _read(name, FILE_BYTES, directory)
        except PermissionError:
            self.unreadable.note(name)
            return b""

    def _link(self, name: str, directory: int) -> str:
        # a process in its exit has no exe and no cwd any more: FileNotFoundError, it counts as gone
        if name in self._absent:
            return ""
        try:
            return decode(os.fsencode(os.readlink(name, dir_fd=directory)))
        except PermissionError:
            # the kernel's answer for a process that has just been reaped, too (proc_pid_readlink)
            _read("stat", FILE_BYTES, directory)
            self.unreadable.note(name)
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
        if len(self._texts) >= MAX_SHARED:
            self._texts.clear()
        return self._texts.setdefault(text, text)


def _read(path: str, limit: int, directory: int | None = None) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return os.read(descriptor, limit)
    finally:
        os.close(descriptor)


def _inode(link: str) -> int:
    number = link.rpartition("[")[2].removesuffix("]")
    return int(number) if number.isdigit() else 0


def absolute_tmpdir(named: bytes, cwd: str) -> str:
    """Return the directory for a process's files for a while, by its TMPDIR.

    An empty one, or one that is too long for a path, is none. A relative one begins at the working
    directory.
    """
    path = os.path.join(cwd or "/", os.fsdecode(named))  # noqa: PTH118  the text is what is wanted
    if named and path.startswith("/") and len(path) < MAX_PATH:
        return path.rstrip("/") or "/"
    return DEFAULT_TMPDIR
