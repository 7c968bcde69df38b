"""Files that hold code: opened once, their rows and tables made when they are asked for."""

from __future__ import annotations

import contextlib
import lzma
import os
import stat
from bisect import bisect_right

from rover.binaries import code_rows, demangle, eh_frame, go_rows, symbols
from rover.binaries.elf import EM_X86_64, Elf, ElfError, file_reader, memory_reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterator
    from typing import Final

MAX_IMAGES: Final = 512
MAX_ROW_BYTES: Final = 32 << 20
"""Of an .eh_frame that rows are made of."""
MAX_DEBUGDATA: Final = 64 << 20
"""Bytes of a .gnu_debugdata once it is unpacked; Fedora's largest are 10 MB."""
MAX_XZ_MEMORY: Final = 96 << 20
MAX_NAMES: Final = 16_384
"""Names that are kept of one file."""


class Image:
    """One file with code, held open."""

    def __init__(self, descriptor: int, label: bytes, pid: int, elf: Elf | None = None) -> None:
        """Take over an open file.

        Args:
            descriptor: of the file, -1 where it lies in memory alone.
            label: its path.
            pid: a process that has it.
            elf: its reader, where it lies in memory.

        Raises:
            ElfError: it is none that is understood.
            OSError: it cannot be read.
        """
        self.descriptor = descriptor
        self.label = demangle.printable(os.path.basename(label).decode("utf-8", "replace"))  # noqa: PTH119  pathlib is large
        self.path = label
        self.pid = pid
        """A process that has it, and below whose root its debug file may lie."""
        self.elf = elf or Elf(file_reader(descriptor))
        self._tables: list[symbols.SymbolTable | symbols.GoTable] | None = None
        self._names: dict[int, str] = {}
        self._rows: array[int] | None = None
        self._functions_known: list[symbols.SymbolTable] | None = None
        """While rows are made."""

    @classmethod
    def of_memory(cls, text: bytes, label: bytes, pid: int) -> Image:
        """Return an image that lies in memory alone, as [vdso] does."""
        return cls(-1, label, pid, Elf(memory_reader(text)))

    def rows(self) -> array[int]:
        """Return its rows; empty where it has none. Kept until `forget_rows`."""
        if self._rows is None:
            section = self.elf.sections.get(b".eh_frame")
            text = b""
            if section and section.size <= MAX_ROW_BYTES and self.elf.machine == EM_X86_64:
                text = self.elf.content(section)
            rows = eh_frame.rows_of(text, section.vaddr if section else 0, self.elf.base)
            if self.elf.machine == EM_X86_64:
                if go := go_rows.rows_of(self.elf, self.elf.base):
                    rows = go_rows.merged(rows, go)
                else:
                    rows = code_rows.filled(rows, self.elf, self._functions)
                    self._functions_known = None
            self._rows = rows
        return self._rows

    def _functions(self, first: int, stop: int) -> Iterator[int]:
        """Give where functions begin between two addresses, as far as the file itself says."""
        if self._functions_known is None:
            self._functions_known = symbols.tables_of(self.elf)
        for table in self._functions_known:
            yield from table.between(first, stop)

    def forget_rows(self) -> None:
        """Let the rows go: the agent has them."""
        self._rows = None

    def name(self, address: int, debug_file: Callable[[Image], int | None]) -> str:
        """Name an address of the file, as `file+0xoffset` where nothing else is known."""
        known = self._names.get(address)
        if known is None:
            if self._tables is None:
                self._tables = self._read_tables(debug_file)
            found = None
            for table in self._tables:
                if found := table.name(address):
                    break
            known = demangle.readable(found) if found else f"{self.label}+{address:#x}"
            if len(self._names) < MAX_NAMES:
                self._names[address] = known
        return known

    def read_names(self, debug_file: Callable[[Image], int | None]) -> None:
        """Read what names its functions, if that was not done."""
        if self._tables is None:
            self._tables = self._read_tables(debug_file)

    @property
    def has_tables(self) -> bool:
        """Whether its tables are in memory."""
        return self._tables is not None

    def forget_tables(self) -> None:
        """Let the tables go; they are read again when they are asked for."""
        self._tables = None
        self._names.clear()

    def close(self) -> None:
        """Close the file."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def _read_tables(
        self, debug_file: Callable[[Image], int | None]
    ) -> list[symbols.SymbolTable | symbols.GoTable]:
        found: list[symbols.SymbolTable | symbols.GoTable] = []
        found += symbols.tables_of(self.elf, (b".symtab",))
        if not found and (descriptor := debug_file(self)) is not None:
            # the descriptor lives as long as the tables that read names by it
            with contextlib.suppress(ElfError):
                found += symbols.tables_of(Elf(_Held(descriptor)), (b".symtab",))
        if not found and (text := _debugdata(self.elf)):
            with contextlib.suppress(ElfError):
                found += symbols.tables_of(Elf(memory_reader(text)), (b".symtab",))
        if go := symbols.go_table_of(self.elf):
            found.append(go)
        found += symbols.tables_of(self.elf, (b".dynsym",))
        return found


class _Held:
    """Reads an open file, and closes it when nobody reads any more."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._read = file_reader(descriptor)

    def __call__(self, offset: int, size: int) -> bytes:
        return self._read(offset, size)

    def __del__(self) -> None:
        os.close(self._descriptor)


def _debugdata(elf: Elf) -> bytes:
    """Return the small ELF file that Fedora and others pack into each binary."""
    packed = elf.section(b".gnu_debugdata")
    if not packed:
        return b""
    try:
        unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_XZ_MEMORY)
        return unpacker.decompress(packed, MAX_DEBUGDATA)
    except (lzma.LZMAError, MemoryError):
        return b""


def open_regular(path: str) -> tuple[int, os.stat_result]:
    """Open a regular file for reading, whatever else lies there is left alone.

    Raises:
        OSError: there is none, or it is no regular file.
    """
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        status = os.fstat(place)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(22, "no regular file")
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(f"/proc/self/fd/{place}", flags), status
    finally:
        os.close(place)


class Ranges:
    """Something by address: sorted ranges that do not overlap."""

    __slots__ = ("_ends", "_starts", "_values")

    def __init__(self, ranges: list[tuple[int, int, object]]) -> None:
        self._starts = [start for start, _, _ in ranges]
        self._ends = [end for _, end, _ in ranges]
        self._values = [value for _, _, value in ranges]

    def find(self, address: int) -> object | None:
        """Return what an address lies in."""
        at = bisect_right(self._starts, address) - 1
        return self._values[at] if at >= 0 and address < self._ends[at] else None
