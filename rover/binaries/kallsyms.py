"""Names of the kernel's functions, out of /proc/kallsyms.

A pass over that file takes a tenth of a second, most of it the kernel's own. So what the first pass
reads is kept, packed: 1.5 MB for the 120,000 functions of a kernel. Another one is made where an
address lies in none of what is known: a module has come, or it is that of an eBPF program. These
come and go in each other's places, so of them the addresses asked for are kept alone.
"""

from __future__ import annotations

import itertools
import os
import zlib
from array import array
from bisect import bisect_left, bisect_right

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Final

UNKNOWN: Final = "[kernel]"
MAX_NAMES: Final = 8_192
"""Names that are kept by address: 1 MB."""
_CHUNK: Final = 1 << 18
_MAX_BYTES: Final = 64 << 20
_CODE: Final = frozenset(b"tTwW")
_HIDDEN: Final = b"0" * 16
_NAMES_A_BLOCK: Final = 1_024
_PROGRAMS: Final = frozenset((b"[bpf]", b"[__builtin__ftrace]", b"[__builtin__kprobes]"))
"""What the kernel calls code that it has made itself, in place of a module's name."""

_Function = tuple[int, bytes]


class Kernel:
    """Names addresses of the kernel's code."""

    def __init__(self, descriptor: int) -> None:
        """Read nothing yet.

        Args:
            descriptor: open /proc/kallsyms, or -1; who opened it decides what it shows.
        """
        self._descriptor = descriptor
        self._tables: list[Table] | None = None
        self._names: dict[int, str] = {}

    def names(self, addresses: Sequence[int]) -> list[str]:
        """Name addresses.

        Raises:
            OSError: the file cannot be read.
        """
        found = {address: self._names.get(address) for address in addresses}
        new = sorted(address for address, name in found.items() if name is None)
        if new:
            named = dict(self._named(new))
            found |= named
            if len(self._names) + len(named) > MAX_NAMES:
                self._names.clear()
            self._names.update(itertools.islice(named.items(), MAX_NAMES))
        return [found[address] or UNKNOWN for address in addresses]

    def _named(self, addresses: list[int]) -> Iterator[tuple[int, str]]:
        """Name sorted addresses, by what is known or by one more pass."""
        missing = addresses
        if self._tables is not None:
            missing = []
            for address, name in _by_tables(self._tables, addresses):
                if name is None:
                    missing.append(address)
                else:
                    yield address, name
        # without any table the kernel hides its addresses, and would do so again
        programs = self._read() if missing and self._tables != [] else []
        starts = [start for start, _ in programs]
        for address, name in _by_tables(self._tables or [], missing):
            at = bisect_right(starts, address) - 1
            yield address, name or (_text(programs[at][1]) if at >= 0 else UNKNOWN)

    def _read(self) -> list[_Function]:
        """Make one pass for the tables; return the programs that the kernel has made itself."""
        tables: dict[bytes, list[_Function]] = {}
        programs: list[_Function] = []
        image = Packer()
        for start, name, module in _functions(self._descriptor):
            if not module and image.add(start, name):
                continue
            if module in _PROGRAMS:
                programs.append((start, name))
            else:
                tables.setdefault(module, []).append((start, name))
        packed = [image.table()]
        packed += [_packed(sorted(functions)) for functions in tables.values()]
        self._tables = [table for table in packed if table]
        return sorted(programs)


class Table:
    """Functions one behind the other: where each begins, and the names in packed blocks."""

    __slots__ = ("_blocks", "_end", "_first", "_starts")

    def __init__(self, first: int, end: int, starts: array[int], blocks: list[bytes]) -> None:
        self._first = first
        self._end = end
        self._starts = starts
        self._blocks = blocks

    def __bool__(self) -> bool:
        return bool(self._starts)

    def names(self, addresses: list[int]) -> Iterator[tuple[int, str]]:
        """Name those of sorted addresses that are here."""
        opened, names = -1, list[bytes]()
        first, end = bisect_left(addresses, self._first), bisect_left(addresses, self._end)
        for address in addresses[first:end]:
            at = bisect_right(self._starts, address - self._first) - 1
            if at // _NAMES_A_BLOCK != opened:
                opened = at // _NAMES_A_BLOCK
                names = zlib.decompress(self._blocks[opened]).split(b"\n")
            yield address, _text(names[at % _NAMES_A_BLOCK])


class Packer:
    """Makes a table of functions that come in the order of their addresses."""

    def __init__(self) -> None:
        self._first = -1
        self._starts = array("I")
        self._names: list[bytes] = []
        self._blocks: list[bytes] = []

    def add(self, start: int, name: bytes) -> bool:
        """Take a function; refuse one that lies before the last, or 4 GB behind the first."""
        if self._first < 0:
            self._first = start
        offset = start - self._first
        last = self._starts[-1] if self._starts else -1
        if not last <= offset < 1 << 32:
            return False
        if offset > last:  # of several names for one place the first is as good as any
            self._starts.append(offset)
            self._names.append(name)
            if len(self._names) == _NAMES_A_BLOCK:
                self._pack()
        return True

    def table(self) -> Table:
        """Give the table."""
        if self._names:
            self._pack()
        # the last one's end is not told: a page, as all of it is mapped by pages
        end = self._first + self._starts[-1] + 4_096 if self._starts else 0
        return Table(self._first, end, self._starts, self._blocks)

    def _pack(self) -> None:
        self._blocks.append(zlib.compress(b"\n".join(self._names), 1))
        self._names.clear()


def _by_tables(tables: list[Table], addresses: list[int]) -> Iterator[tuple[int, str | None]]:
    found = dict(each for table in tables for each in table.names(addresses))
    return ((address, found.get(address)) for address in addresses)


def _packed(functions: list[_Function]) -> Table:
    packer = Packer()
    for start, name in functions:
        packer.add(start, name)
    return packer.table()


def _functions(descriptor: int) -> Iterator[tuple[int, bytes, bytes]]:
    """Give each function's start, name and module; none where the kernel hides its addresses."""
    if descriptor < 0:
        return
    os.lseek(descriptor, 0, os.SEEK_SET)
    rest, total, part = b"", 0, b"-"
    while part and total < _MAX_BYTES:
        part = os.read(descriptor, _CHUNK)
        total += len(part)
        lines = (rest + part).split(b"\n")
        rest = lines.pop() if part else b""
        for line in lines:
            if line[17:18] and line[17] in _CODE:
                if line[:16] == _HIDDEN:
                    return
                name, _, module = line[19:].partition(b"\t")
                yield int(line[:16], 16), name, module


def _text(name: bytes) -> str:
    return name.decode("ascii", "replace")
