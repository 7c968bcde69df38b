"""Processes whose code is known: what each has in memory, look by look, and names for addresses."""

from __future__ import annotations

import contextlib
import os
import time

from rover.binaries import demangle, kallsyms, maps
from rover.binaries.debug_files import DebugFiles
from rover.binaries.elf import ElfError
from rover.binaries.images import MAX_IMAGES, Image, Ranges, open_regular
from rover.binaries.perf_map import PerfMap
from rover.foreign.walk import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from rover.binaries.maps import Mapping

MAX_PROCESSES: Final = 64
MAX_SNAPSHOTS: Final = 8
"""Looks at one process that are kept: addresses of earlier ones are named before."""
MAX_VDSO: Final = 65_536
UNKNOWN: Final = "[unknown]"
ANONYMOUS: Final = "[code without a file]"

NO_ROWS: Final = 0
"""Index of an image that there is none of."""
TRAMPOLINE: Final = 1
"""Index of the image that stands for CPython's trampolines."""
TRAMPOLINES: Final = (
    # sub $8,%rsp; call *%rcx; add $8,%rsp; ret   (3.12)
    (b"\x48\x83\xec\x08\xff\xd1\x48\x83\xc4\x08\xc3", 2 << 3),
    # push %rbp; mov %rsp,%rbp; call *%rcx; pop %rbp; ret   (3.13)
    (b"\x55\x48\x89\xe5\xff\xd1\x5d\xc3", 2 << 3 | (-2 & 0xFF) << 24),
)
"""Code that CPython's `-X perf` makes for each function (Python/asm_trampoline.S), with its row."""
_OVER: Final = (b"Z", b"X")
"""States of a thread that has ended (proc(5))."""
_EXEC_S: Final = (0.001, 0.004, 0.02)
"""Between reads of a process that has no code: execve(2) has given up that of the former program,
and the next one's is not mapped yet."""
_TRIES: Final = 3
"""Looks for a living thread: one that calls execve(2) takes the first one's place and pid."""
_ENDBR64: Final = b"\xf3\x0f\x1e\xfa"


class Gone(Exception):  # noqa: N818  not an error: processes end
    """The process has ended, or is another one."""


class Unreadable(Exception):  # noqa: N818  not an error: it may be readable at the next look
    """The process lives, but what it has in memory cannot be told now."""


class _Range:
    """A mapping with what is known of it."""

    __slots__ = ("bias", "end", "image", "label", "start", "trampoline")

    def __init__(self, start: int, end: int, label: str) -> None:
        self.start = start
        self.end = end
        self.label = label
        self.image: int = NO_ROWS
        self.bias = 0
        self.trampoline = 0


class _Process:
    def __init__(self, pid: int, ticks: int) -> None:
        self.pid = pid
        self.ticks = ticks
        self.thread = pid
        """One that has the process's memory; another than the first where that has ended."""
        self.generation = 0
        self.lines: list[bytes] = []
        self.snapshots: dict[int, tuple[Ranges, list[_Range]]] = {}
        self.perf_map: PerfMap | None = None


class Processes:
    """All that the child knows."""

    def __init__(self, proc: str, kernel: int) -> None:
        """Know nothing yet.

        Args:
            proc: where the host's processes are.
            kernel: open /proc/kallsyms, or -1.
        """
        self._proc = proc
        self._kernel = kallsyms.Kernel(kernel)
        self._processes: dict[int, _Process] = {}
        self._debug_files = DebugFiles(proc)
        self.images: dict[int, Image] = {}
        self._by_key: dict[tuple[object, ...], int] = {}
        self._next_image = TRAMPOLINE + 1

    def look(self, pid: int, ticks: int) -> tuple[int, list[tuple[int, int, int, int, int]]]:
        """Look at a process's mappings.

        Returns:
            Which look it is, from 1, and of each mapping: start, end, bias, image, row of a
            trampoline.

        Raises:
            Gone, Unreadable: see there.
        """
        process = self._processes.get(pid)
        if process is None or process.ticks != ticks:
            if process is not None:
                self.forget(pid)
            if len(self._processes) >= MAX_PROCESSES:
                raise Gone("too many processes")
            process = _Process(pid, ticks)
        lines = self._lines(process)
        if lines != process.lines or not process.generation:
            found, _ = maps.mappings_of(lines)
            ranges = [self._range(process, each) for each in found]
            self._check(process)
            process.generation += 1
            process.lines = lines
            indexed = Ranges([(each.start, each.end, each) for each in ranges])
            process.snapshots[process.generation] = indexed, ranges
            while len(process.snapshots) > MAX_SNAPSHOTS:
                del process.snapshots[min(process.snapshots)]
        self._processes[pid] = process
        self._find_perf_map(process)
        ranges = process.snapshots[process.generation][1]
        return process.generation, [
            (each.start, each.end, each.bias, each.image, each.trampoline) for each in ranges
        ]

    def prepare(self, pid: int) -> None:
        """Make the rows of a process's files; read the names of that where most of its code is."""
        _, ranges = max(self._processes[pid].snapshots.items())[1]
        code: dict[int, int] = {}
        for each in ranges:
            if each.image in self.images:
                code[each.image] = code.get(each.image, 0) + each.end - each.start
        for index in code:
            self.images[index].rows()
        if code:
            self.images[max(code, key=lambda index: code[index])].read_names(self._debug_files.find)

    def forget(self, pid: int) -> None:
        """Forget a process, and files that no other has."""
        process = self._processes.pop(pid, None)
        if process is None:
            return
        if process.perf_map:
            process.perf_map.close()
        used = {
            each.image
            for other in self._processes.values()
            for _, ranges in other.snapshots.values()
            for each in ranges
        }
        for index in [each for each in self.images if each not in used]:
            self.images.pop(index).close()
        self._by_key = {key: index for key, index in self._by_key.items() if index in used}

    def names(self, pid: int, generation: int, addresses: list[int]) -> list[str]:
        """Name addresses of a process's code, as it was at a look (0: the latest)."""
        process = self._processes.get(pid)
        if process is None or not process.snapshots:
            return [UNKNOWN] * len(addresses)
        latest = max(process.snapshots)
        snapshot = process.snapshots.get(generation) or process.snapshots[latest]
        if process.perf_map:
            process.perf_map.read_on()
        return [self._name(process, snapshot[0], address) for address in addresses]

    def kernel_names(self, addresses: list[int]) -> list[str]:
        """Name addresses of the kernel."""
        try:
            return self._kernel.names(addresses)
        except OSError:
            return [kallsyms.UNKNOWN] * len(addresses)

    def _name(self, process: _Process, ranges: Ranges, address: int) -> str:
        found = ranges.find(address)
        if not isinstance(found, _Range):
            return self._compiled(process, address) or UNKNOWN
        image = self.images.get(found.image)
        if image is None:
            return self._compiled(process, address) or found.label
        offset = address - found.bias + image.elf.base
        return image.name(offset, self._debug_files.find)

    def _compiled(self, process: _Process, address: int) -> str | None:
        name = process.perf_map.name(address) if process.perf_map else None
        return demangle.printable(name.decode("utf-8", "replace")) if name else None

    def _lines(self, process: _Process) -> list[bytes]:
        """Read the mappings of a process; of one that executes another program, that one's.

        Raises:
            Gone, Unreadable: see there.
        """
        why = ""
        for pause in (0, *_EXEC_S):
            time.sleep(pause)
            self._check(process)
            try:
                if lines := maps.read_lines(self._proc, process.thread):
                    return lines
                why = "it has no code in memory"
            except OSError as error:
                why = f"its mappings cannot be read: {os.strerror(error.errno or 0)}"
                if isinstance(error, PermissionError):
                    break
        raise Unreadable(why)

    def _check(self, process: _Process) -> None:
        """Make sure that a pid is still that process, and find a thread of it that lives.

        Raises:
            Gone: see there.
        """
        for _ in range(_TRIES):
            if thread := self._living(process):
                process.thread = thread
                return
        raise Gone("it has ended")

    def _living(self, process: _Process) -> int:
        """Return a thread of a process that lives; 0 where none is seen."""
        pid = process.pid
        fields = self._stat(f"{pid}")
        # state is the first of these; the start time is field 22 of the whole (proc(5))
        if len(fields) < 20 or int(fields[19]) != process.ticks:
            return 0
        if fields[0] not in _OVER:
            return pid
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"{self._proc}/{pid}/task"):  # noqa: PTH208  pathlib is large
                fields = self._stat(f"{pid}/task/{thread}")
                if fields and fields[0] not in _OVER:
                    return int(thread)
        return 0

    def _stat(self, place: str) -> list[bytes]:
        """Return the fields of a process or a thread from its state on; none where it is gone."""
        try:
            descriptor = os.open(f"{self._proc}/{place}/stat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return []
        try:
            return os.read(descriptor, 4_096).rpartition(b") ")[2].split()
        except OSError:
            return []
        finally:
            os.close(descriptor)

    def _range(self, process: _Process, mapping: Mapping) -> _Range:
        label = demangle.printable(os.path.basename(mapping.label).decode("utf-8", "replace"))  # noqa: PTH119
        found = _Range(mapping.start, mapping.end, label or ANONYMOUS)
        with contextlib.suppress(OSError, ElfError):
            if mapping.is_file:
                self._of_file(process, mapping, found)
            elif mapping.label == b"[vdso]":
                self._of_vdso(process, mapping, found)
            elif not mapping.label:
                self._of_nothing(process, mapping, found)
        return found

    def _of_file(self, process: _Process, mapping: Mapping, found: _Range) -> None:
        key: tuple[object, ...] = (mapping.device, mapping.inode, mapping.label)
        index = self._by_key.get(key)
        if index is None:
            if len(self.images) >= MAX_IMAGES:
                return
            descriptor = self._open(process, mapping)
            try:
                image = Image(descriptor, mapping.label, process.thread)
                # another release of the file under the same inode is another image
                status = os.fstat(descriptor)
                real = (status.st_dev, status.st_ino, image.elf.build_id, status.st_mtime_ns)
            except BaseException:
                os.close(descriptor)
                raise
            index = self._by_key.get(real)
            if index is None:
                index = self._add(image)
            else:
                image.close()
            self._by_key[key] = self._by_key[real] = index
        image = self.images[index]
        bias = image.elf.bias(mapping.start, mapping.offset)
        if bias is not None:
            found.image, found.bias = index, bias + image.elf.base

    def _open(self, process: _Process, mapping: Mapping) -> int:
        """Open the file behind a mapping: itself, or by its path if that is the same file."""
        place = f"{self._proc}/{process.thread}/map_files/{mapping.start:x}-{mapping.end:x}"
        try:
            return open_regular(place)[0]
        except PermissionError:
            pass  # CAP_CHECKPOINT_RESTORE is missing, or the kernel is older than 5.9
        try:
            descriptor, status = self._debug_files.open_below_root(process.thread, mapping.label)
        except Refused as error:
            raise OSError(1, str(error)) from error
        if status.st_ino != mapping.inode:
            os.close(descriptor)
            raise OSError(116, "the file at that path is another one")
        return descriptor

    def _add(self, image: Image) -> int:
        index = self._next_image
        self._next_image += 1
        self.images[index] = image
        return index

    def _of_vdso(self, process: _Process, mapping: Mapping, found: _Range) -> None:
        text = self._memory(process, mapping.start, min(mapping.end - mapping.start, MAX_VDSO))
        key = (b"[vdso]", hash(text))
        index = self._by_key.get(key)
        if index is None:
            image = Image.of_memory(text, b"[vdso]", process.thread)
            index = self._by_key[key] = self._add(image)
        # one segment, mapped from its beginning
        found.image, found.bias = index, mapping.start

    def _of_nothing(self, process: _Process, mapping: Mapping, found: _Range) -> None:
        text = self._memory(process, mapping.start, 32).removeprefix(_ENDBR64)
        for code, row in TRAMPOLINES:
            if text.startswith(code):
                found.image, found.bias, found.trampoline = TRAMPOLINE, mapping.start, row

    def _memory(self, process: _Process, address: int, size: int) -> bytes:
        descriptor = os.open(f"{self._proc}/{process.thread}/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(descriptor, size, address)
        finally:
            os.close(descriptor)

    def _find_perf_map(self, process: _Process) -> None:
        """Open /tmp/perf-PID.map as the process itself would, by its own pid."""
        if process.perf_map and not process.perf_map.is_replaced:
            return
        with contextlib.suppress(OSError, Refused, ValueError):
            status = self._text(f"{self._proc}/{process.pid}/status")
            own = int(status.partition(b"\nNSpid:")[2].split(b"\n")[0].split()[-1])
            user = int(status.partition(b"\nUid:")[2].split()[1])
            began = self._began(process)
            path = f"/tmp/perf-{own}.map".encode()  # noqa: S108  the name is perf's
            descriptor, found = self._debug_files.open_below_root(process.thread, path)
            # what a former process of that pid has left says nothing of this one's code
            if found.st_uid not in {user, 0} or found.st_mtime < began - 1:
                os.close(descriptor)
                return
            if process.perf_map:
                process.perf_map.close()
            process.perf_map = PerfMap(descriptor)

    def _began(self, process: _Process) -> float:
        """Return when a process began, in seconds since the epoch."""
        uptime = float(self._text(f"{self._proc}/uptime").split()[0])
        return time.time() - uptime + process.ticks / os.sysconf("SC_CLK_TCK")

    @staticmethod
    def _text(path: str) -> bytes:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(descriptor, 65_536)
        finally:
            os.close(descriptor)
