"""Names of functions: ELF's symbol tables and Go's own table.

Tables are kept as numbers alone; a name is read from the file when it is asked for.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left, bisect_right

from rover.binaries import go_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

    from rover.binaries.elf import Elf, Section

MAX_SYMBOLS: Final = 1_000_000
"""Of one table: 16 MB as it is kept."""
MAX_NAME: Final = 4_096
MAX_LOOK_BACK: Final = 16
"""Symbols that may begin inside of one that covers an address."""

MAX_UNSIZED: Final = 1_024
"""Bytes that a symbol without a size stands for: assembly's, which is short."""

_SYMBOL: Final = struct.Struct("<IBBHQQ")
_CHUNK: Final = 32_768
_FUNCTIONS: Final = (2, 10)
"""STT_FUNC and STT_GNU_IFUNC."""
_NO_TYPE: Final = 0
_SHF_EXECINSTR: Final = 4
_MAX_SIZE: Final = (1 << 32) - 1

_GO_FUNCTION: Final = struct.Struct("<Ii")


class SymbolTable:
    """Functions of one of ELF's tables, by address."""

    def __init__(self, elf: Elf, section: Section) -> None:
        self._elf = elf
        self._addresses = array("Q")
        self._sizes = array("I")
        self._names = array("I")
        strings = elf.by_index[section.link] if section.link < len(elf.by_index) else None
        self._strings_at = strings.offset if strings else 0
        self._strings_size = strings.size if strings else 0
        code = {index for index, each in enumerate(elf.by_index) if each.flags & _SHF_EXECINSTR}
        self._fill(section, code)

    def __len__(self) -> int:
        return len(self._addresses)

    def _fill(self, section: Section, code: set[int]) -> None:
        count = min(section.size // _SYMBOL.size, MAX_SYMBOLS)
        found: list[tuple[int, int, int]] = []
        for first in range(0, count, _CHUNK):
            amount = min(_CHUNK, count - first)
            text = self._elf.read(section.offset + first * _SYMBOL.size, amount * _SYMBOL.size)
            whole = len(text) // _SYMBOL.size * _SYMBOL.size
            found += [
                (value, min(size, _MAX_SIZE), name)
                for name, info, _, index, value, size in _SYMBOL.iter_unpack(text[:whole])
                if name
                and value
                and index
                and (info & 15 in _FUNCTIONS or (info & 15 == _NO_TYPE and index in code))
            ]
            if whole < amount * _SYMBOL.size:
                break
        found.sort()
        self._addresses.extend([each[0] for each in found])
        self._sizes.extend([each[1] for each in found])
        self._names.extend([each[2] for each in found])

    def between(self, first: int, stop: int) -> array[int]:
        """Return where functions begin from one address of the file up to another."""
        addresses = self._addresses
        return addresses[bisect_left(addresses, first) : bisect_left(addresses, stop)]

    def name(self, address: int) -> bytes | None:
        """Return the function that covers an address of the file."""
        last = bisect_right(self._addresses, address) - 1
        for at in range(last, max(last - MAX_LOOK_BACK, -1), -1):
            size = self._sizes[at]
            extent = size or (MAX_UNSIZED if at == last else 0)
            if address < self._addresses[at] + extent:
                return self._name(at, address)
        return None

    def _name(self, at: int, address: int) -> bytes | None:
        """Return the plainest of the names for one place."""
        start = self._addresses[at]
        names = []
        for other in range(at, max(at - MAX_LOOK_BACK, -1), -1):
            if self._addresses[other] != start:
                break
            size = self._sizes[other]
            if size and address >= start + size:
                continue
            if (name := self._text(self._names[other])) and name[:1] != b"$":
                names.append(name)
        return min(names, key=_underscores, default=None)

    def _text(self, at: int) -> bytes:
        if at >= self._strings_size:
            return b""
        place = self._strings_at + at
        left = min(MAX_NAME, self._strings_size - at)
        short = self._elf.read(place, min(left, 128))
        name, end, _ = short.partition(b"\0")
        return name if end else self._elf.read(place, left).partition(b"\0")[0]


def _underscores(name: bytes) -> tuple[int, int]:
    return len(name) - len(name.lstrip(b"_")), len(name)


class GoTable:
    """Functions of Go's .gopclntab, which is there when all else has been stripped."""

    def __init__(self, elf: Elf, section: Section) -> None:
        """Read the table's header and its index.

        Raises:
            ValueError: it is none of Go 1.18 or later.
        """
        self._elf = elf
        self._at = section.offset
        self._size = section.size
        head = elf.read(section.offset, go_rows.HEADER.size)
        if len(head) < go_rows.HEADER.size:
            raise ValueError("Go's table is cut off")
        magic, _, _, width, functions, _, told, names, _, _, _, index = go_rows.HEADER.unpack(head)
        if magic not in go_rows.FLAGS_AT or width != go_rows.POINTER_BYTES:
            raise ValueError(f"an unknown table of Go: {magic:#x}")
        self._names, self._index = names, index
        whole = elf.read(self._at + index, min(functions, MAX_SYMBOLS) * 8)
        pairs = array("I", whole[: len(whole) // 8 * 8])
        self._offsets = pairs[::2]
        self._functions = pairs[1::2]
        self._text_at = go_rows.text_start(elf, told)

    def __len__(self) -> int:
        return len(self._offsets)

    def name(self, address: int) -> bytes | None:
        """Return the function that covers an address of the file."""
        offset = address - self._text_at
        at = bisect_right(self._offsets, offset) - 1
        if offset < 0 or at < 0 or at >= len(self._functions) - 1:
            return None
        place = self._index + self._functions[at]
        head = self._elf.read(self._at + place, _GO_FUNCTION.size)
        if len(head) < _GO_FUNCTION.size:
            return None
        name = self._names + _GO_FUNCTION.unpack(head)[1]
        if not 0 <= name < self._size:
            return None
        return self._elf.read(self._at + name, 512).partition(b"\0")[0] or None


def tables_of(elf: Elf, names: Iterable[bytes] = (b".symtab", b".dynsym")) -> list[SymbolTable]:
    """Return the tables of a file that have functions."""
    found = []
    for name in names:
        if section := elf.sections.get(name):
            table = SymbolTable(elf, section)
            if len(table):
                found.append(table)
    return found


def go_table_of(elf: Elf) -> GoTable | None:
    """Return Go's own table where there is one that is understood."""
    for name in go_rows.TABLES:
        if section := elf.sections.get(name):
            try:
                return GoTable(elf, section)
            except ValueError:
                return None
    return None
