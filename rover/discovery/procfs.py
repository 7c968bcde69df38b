"""Read one process out of /proc in few system calls.

All files are opened relative to the process's own directory: once the process is gone they fail,
so the facts of two processes that share a pid in turn never mix. What lies in the process's own
memory is read by somebody else (`rover.foreign`), for the kernel may wait for it without end; links
are only read here and never followed, so no file system is asked that they lead to.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rover.discovery.bounds import ARGUMENTS_READ, GAP, bounded, bounded_text, joined, spared
from rover.discovery.procfs_text import (
    DELETED,
    KernelThread,
    Stat,
    absolute_tmpdir,
    decode,
    executable,
    kept_path,
    parse_cgroup,
    parse_stat,
    parse_status,
    status_line,
)
from rover.discovery.shared import Shared
from rover.foreign.direct import DirectReads
from rover.model import Place, Process, ProcessKey
from rover.redaction import Redaction

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rover.foreign.blame import Blame
    from rover.foreign.direct import Strings
    from rover.foreign.records import Found

FILE_BYTES: Final = 16_384
MAX_THREADS_TRIED: Final = 64
"""Of a process whose leader has ended: some may be on their way out, too."""
TRIES: Final = 3
"""Reads of a process that calls execve(2) meanwhile. What was read may be the former program's in
part; or it seems gone, for the thread that calls it takes the place and the pid of the first one,
which has ended by then."""
AHEAD: Final = 64
"""Processes that are begun before they are read, so that their answers come together."""
IN_EXEC: Final = "none is there yet, as while an exec lays it out"
LASTING: Final = frozenset({errno.EACCES, errno.EPERM, errno.ENOENT, errno.ESRCH})
"""Refusals that say something of the process or of the agent's rights; any other may pass."""
_SCHEDULER_CLOCK: Final = 2
"""CPUCLOCK_SCHED, nanoseconds that all threads have run (kernel/time/posix-cpu-timers.c)."""


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


@dataclass(slots=True)
class _Begun:
    """A process of which the first facts are read and the rest is asked for."""

    directory: int
    stat: Stat
    uid: int = 0
    namespace_pid: int = 0
    mount_namespace: int = 0
    blame: Blame | None = None
    """Who stands behind the reads; None for a kernel thread."""
    by_thread: bool = False
    """Its first thread has ended, so that another is to be read in its place."""
    serial: int = 0


def _require_threads(begun: _Begun) -> None:
    """Raise ProcessLookupError where a process whose first thread has ended has no other.

    It may have made one since its stat was read.
    """
    threads = begun.stat.threads
    if threads <= 1:
        threads = parse_stat(_read("stat", FILE_BYTES, begun.directory)).threads
    if threads <= 1:
        raise ProcessLookupError


class ProcReader:
    """Reads processes; what many share (paths, cgroups, users) is kept once.

    One thread uses it. `unreadable` counts what access rights hid.
    """

    def __init__(
        self,
        root: str = "/proc",
        redaction: Redaction | None = None,
        strings: Strings | None = None,
        *,
        with_place: bool = False,
    ) -> None:
        """Read what is below a directory.

        Args:
            root: where the host's processes are.
            redaction: decides what of arguments is told.
            strings: reads what processes have in their own memory; None: this process itself does,
                and may wait for a hostile one without end.
            with_place: whether to tell where language agents in them keep their files.
        """
        self.root = root
        self._redaction = redaction or Redaction()
        self._strings = strings or DirectReads(root)
        self._with_place = with_place
        self._begun: dict[int, _Begun | None] = {}
        # each has a descriptor until it is read
        self._ahead = min(AHEAD, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 8)
        self._shared = Shared()
        self.unreadable = Unreadable()
        self.reads = 0
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
            same = (
                status_line(status, b"\nPPid:") == [b"%d" % known.ppid]
                and parse_status(status)[0] == known.uid
                and decode(status[: status.find(b"\n")]) == f"Name:\t{known.name}"
                and kept_path(os.readlink(f"{place}/cwd")) == known.cwd  # noqa: PTH115
                and kept_path(os.readlink(f"{place}/exe")).removesuffix(DELETED)  # noqa: PTH115
                == known.exe.removesuffix(DELETED)
                and os.readlink(f"{place}/ns/mnt") == f"mnt:[{known.mount_namespace}]"  # noqa: PTH115
            )
        except (OSError, ValueError):
            return False
        return same and self._has_arguments(known)

    def _has_arguments(self, known: Process) -> bool:
        """Tell whether its arguments are as they were; so are those that cannot be had in time."""
        blame = self._strings.blame(known.pid, known.uid, known.mount_namespace)
        (serial,) = self._strings.ask([blame], ARGUMENTS_READ, with_place=False)
        found = self._strings.answer(serial)
        if found is None or known.shortened:
            return True
        return bounded(seen_arguments(found)) == known.arguments

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

    def read(self, pid: int, known: int | None = None) -> Process | KernelThread | None:
        """Read all facts of a process; None when it is gone or only its exit status is left.

        Args:
            pid: its own.
            known: the image that it had when it was read before, if it was.
        """
        self.reads += 1
        process = None
        for _ in range(TRIES):
            if pid in self._begun:
                begun = self._begun.pop(pid)
            else:
                begun = self._begin(pid)
                if begun:
                    self._ask([begun])
            if begun is None:
                return None
            process = None
            try:
                process = self._finish(begun, pid)
            except (FileNotFoundError, ProcessLookupError):
                pass
            except (OSError, ValueError):
                self.unreadable.note("stat")
                return None
            finally:
                os.close(begun.directory)
            if self._is_whole(process, pid, known):
                break
        return process

    def _is_whole(
        self, process: Process | KernelThread | None, pid: int, known: int | None
    ) -> bool:
        """Tell whether what was read is of one program: an exec may have come in between.

        A look takes 12 us, so one that has the image it had before is spared it: those are read
        again and again, and hardly ever execute anything.
        """
        if isinstance(process, KernelThread):
            return True
        if process and (process.late or process.image == known):
            return True
        stat = self.stat(pid)
        return stat is None or stat.ended or (process is not None and process.image == stat.image)

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
        begun.by_thread = stat.leaderless
        if not begun.by_thread:
            try:
                begun.mount_namespace = self._namespace("ns/mnt", directory)
            except FileNotFoundError:
                _require_threads(begun)
                begun.by_thread = True
        begun.blame = self._strings.blame(pid, begun.uid, begun.mount_namespace)
        return begun

    def _ask(self, several: list[_Begun]) -> None:
        asked = [(each, each.blame) for each in several if each.blame and not each.by_thread]
        serials = self._strings.ask(
            [blame for _, blame in asked], ARGUMENTS_READ, with_place=self._with_place
        )
        for (begun, _), serial in zip(asked, serials, strict=True):
            begun.serial = serial

    def _finish(self, begun: _Begun, pid: int) -> Process | KernelThread | None:
        stat = begun.stat
        if begun.blame is None:
            return KernelThread(
                ProcessKey(pid, stat.start_ticks), stat.ppid, self._shared.text(stat.name)
            )
        if not begun.by_thread:
            try:
                process = self._facts(begun, pid, begun.directory, begun.serial, begun.blame)
            except FileNotFoundError:
                process = None
            if process and (process.arguments or process.late or stat.threads <= 1):
                return process
        # the leader has ended, or has let go of its memory and is about to; its threads live on and
        # still hold what it held
        _require_threads(begun)
        return self._facts_of_a_thread(begun, pid)

    def _facts_of_a_thread(self, begun: _Begun, pid: int) -> Process:
        """Read through the first thread that lives; no other than the leader means gone."""
        tasks = os.open("task", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=begun.directory)
        try:
            others = [thread for thread in os.listdir(tasks) if thread != str(pid)]  # noqa: PTH208 - of a descriptor
            for thread in others[:MAX_THREADS_TRIED]:
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    opened = os.open(thread, os.O_PATH | os.O_CLOEXEC, dir_fd=tasks)
                    try:
                        begun.mount_namespace = self._namespace("ns/mnt", opened)
                        blame = self._strings.blame(int(thread), begun.uid, begun.mount_namespace)
                        (serial,) = self._strings.ask(
                            [blame], ARGUMENTS_READ, with_place=self._with_place
                        )
                        return self._facts(begun, pid, opened, serial, blame)
                    finally:
                        os.close(opened)
        finally:
            os.close(tasks)
        raise ProcessLookupError(pid)

    def _facts(self, begun: _Begun, pid: int, directory: int, serial: int, blame: Blame) -> Process:
        stat = begun.stat
        cwd = self._shared.text(bounded_text(self._link("cwd", directory)))
        cgroup = self._shared.text(parse_cgroup(self._text("cgroup", directory)))
        pid_namespace = self._namespace("ns/pid", directory)
        found = self._strings.answer(serial)
        seen, safe = self._arguments(found)
        arguments, told = bounded(seen), bounded(self._redaction.arguments(spared(safe)))
        # Last: a process that still has an executable has had its pid all the time, so what was
        # found by that is its own.
        exe = executable(self._link("exe", directory), stat.name, seen)
        return Process(
            key=ProcessKey(pid, stat.start_ticks),
            ppid=self._shared.number(stat.ppid),
            name=self._shared.text(stat.name),
            exe=self._shared.text(bounded_text(exe)),
            arguments=arguments,
            redacted=None if told == arguments else told,
            cwd=cwd,
            uid=self._shared.number(begun.uid),
            cgroup=cgroup,
            pid_namespace=pid_namespace,
            mount_namespace=begun.mount_namespace,
            namespace_pid=pid if begun.namespace_pid in (0, pid) else begun.namespace_pid,
            image=stat.image,
            leaderless=directory != begun.directory,
            place=self._place(found, begun, cwd) if self._with_place and found else None,
            late=self._why_late(found, blame),
        )

    def _arguments(self, found: Found | None) -> tuple[bytes, bytes]:
        """Return what whoever names the process sees, and what may be told once secrets are masked.

        The two differ, of a long command line, by an argument whose beginning was not read.
        """
        if found is None:
            return b"", b""
        if found.command_line_errno in {errno.EACCES, errno.EPERM}:
            self.unreadable.note("cmdline")
        elif found.command_line_errno in {errno.ENOENT, errno.ESRCH}:
            raise FileNotFoundError
        seen = seen_arguments(found)
        return seen, joined(found.command_line, found.tail) if found.tail else seen

    def _why_late(self, found: Found | None, blame: Blame) -> str:
        """Say why the arguments are not those that there will be; empty where they are."""
        if found is None:
            return self._strings.why_late(blame)
        failed = found.command_line_errno
        if failed and failed not in LASTING:
            return f"the kernel gave {errno.errorcode.get(failed, failed)}"
        # not even a NUL: the new memory has no arguments yet (arg_end is set by create_elf_tables)
        return "" if found.command_line or failed else IN_EXEC

    def _place(self, found: Found, begun: _Begun, cwd: str) -> Place | None:
        tmpdir = "" if found.place_errno else absolute_tmpdir(found.tmpdir, cwd)
        place = Place(begun.mount_namespace, found.root_mount, found.root_inode, tmpdir)
        return self._shared.place(place)

    def _text(self, name: str, directory: int) -> bytes:
        if name in self._absent:
            return b""
        try:
            return _read(name, FILE_BYTES, directory)
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
        return self._shared.number(_inode(self._link(name, directory)))


def seen_arguments(found: Found) -> bytes:
    """Return the arguments that were found; `GAP` stands for those between both ends."""
    # a rewritten command line may end in many NULs
    if found.tail:
        return found.command_line + GAP + found.tail.rstrip(b"\0")
    return found.command_line.rstrip(b"\0")


def _read(path: str, limit: int, directory: int | None = None) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return os.read(descriptor, limit)
    finally:
        os.close(descriptor)


def _inode(link: str) -> int:
    number = link.rpartition("[")[2].removesuffix("]")
    return int(number) if number.isdigit() else 0
