"""Rows to unwind Go by, from .gopclntab: how far each instruction's stack is from its caller's.

Go keeps frame pointers, but functions that call none have no frame, and their callers would be
missed. The table says the distance everywhere (runtime/symtab.go, `pcsp`). Go 1.18 and later.
"""

from __future__ import annotations

import struct
from array import array

from rover.binaries.call_frames import END, FRAME, OTHER, RSP, SIGNAL
from rover.binaries.eh_frame import MAX_PC, MAX_ROWS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from rover.binaries.elf import Elf

MAX_TABLE: Final = 96 << 20
MAX_FUNCTIONS: Final = 400_000
MAX_STEPS: Final = 20_000
"""Of one function; the largest generated ones have thousands."""
TABLES: Final = (b".gopclntab", b".data.rel.ro.gopclntab")
HEADER: Final = struct.Struct("<IHBBQQQQQQQQ")
POINTER_BYTES: Final = 8
FLAGS_AT: Final = {0xFFFFFFF0: 37, 0xFFFFFFF1: 41}
"""Where a function's flags lie, by the table's magic: of Go 1.18, and 1.20."""

_PCSP_AT: Final = 16
_TEXT_IN_HEADER: Final = 24
_MODULE: Final = b".go.module"
_TEXT_IN_MODULE: Final = 176
"""Of runtime.moduledata, Go 1.26: eight bytes, behind a pointer, six slices and three numbers."""
_RELATIVE: Final = (8).to_bytes(8, "little")
"""R_X86_64_RELATIVE."""
_RELOCATION: Final = 24
"""Bytes of each (Elf64_Rela)."""
_TOP_FRAME: Final = 1
_WRITES_SP: Final = 2
_SIGNAL_RETURNS: Final = (b"runtime.sigreturn__sigaction", b"runtime.sigreturn")
_SAVED_RBP: Final = (-2 & 0xFF) << 24


class _Table:
    """The table's header, checked."""

    __slots__ = ("amount", "flags_at", "index", "pctab", "quantum", "signals", "start", "text")

    def __init__(self, text: bytes, elf: Elf, base: int) -> None:
        """Read it.

        Raises:
            ValueError: it is none of Go 1.18 or later.
        """
        if len(text) < HEADER.size:
            raise ValueError("cut off")
        magic, _, quantum, width, amount, _, told, names, _, _, pctab, index = HEADER.unpack_from(
            text
        )
        if magic not in FLAGS_AT or width != POINTER_BYTES:
            raise ValueError(f"an unknown table of Go: {magic:#x}")
        amount = min(amount, MAX_FUNCTIONS, max(len(text) - index, 0) // 8 - 1)
        if amount <= 0:
            raise ValueError("no functions")
        self.text = text
        self.start = text_start(elf, told) - base
        self.amount, self.quantum, self.index, self.pctab = amount, quantum or 1, index, pctab
        self.flags_at = FLAGS_AT[magic]
        self.signals = {_name_at(text, names, name) for name in _SIGNAL_RETURNS}

    def number(self, at: int) -> int:
        """Return the number of 32 bits at a place."""
        return int.from_bytes(self.text[at : at + 4], "little")


def rows_of(elf: Elf, base: int) -> array[int]:
    """Make the rows of a Go program, sorted; empty where it is none that is understood.

    Args:
        elf: the file.
        base: what rows count from.
    """
    rows = array("Q")
    section = next((elf.sections[name] for name in TABLES if name in elf.sections), None)
    if section is None or section.size > MAX_TABLE:
        return rows
    try:
        table = _Table(elf.content(section), elf, base)
    except ValueError:
        return rows
    last = 0
    for at in range(table.index, table.index + table.amount * 8, 8):
        start = table.start + table.number(at)
        function = table.index + table.number(at + 4)
        if not last <= start < MAX_PC or function + 44 > len(table.text):
            continue
        if len(rows) > MAX_ROWS:
            rows.append(start << 32 | FRAME)
            return rows
        last = _append_rows(table, function, start, rows)
    end = table.start + table.number(table.index + table.amount * 8)
    if rows and last <= end < MAX_PC:
        rows.append(end << 32 | FRAME)
    return rows


def _append_rows(table: _Table, function: int, start: int, rows: array[int]) -> int:
    """Append the rows of one function; return where the last begins."""
    flags = table.text[function + table.flags_at]
    if flags & _TOP_FRAME:
        rows.append(start << 32 | END)
    elif table.number(function + 4) in table.signals:
        rows.append(start << 32 | SIGNAL)
    elif flags & _WRITES_SP:
        # goes over to another stack, with the frame pointer kept
        rows.append(start << 32 | OTHER)
    else:
        return _steps(table, table.pctab + table.number(function + _PCSP_AT), start, rows)
    return start


def text_start(elf: Elf, told: int) -> int:
    """Return the address that the places of functions are counted from.

    Go up to 1.25 has it in the table's header, later ones in runtime.moduledata alone. Where a
    program can be put anywhere either is made by a relocation. Where C is linked in, `.text` begins
    with that; else it is the address too.

    Args:
        elf: the file.
        told: what the table's header says, 0 for nothing.
    """
    if told:
        return told
    places = [elf.sections[name].vaddr + _TEXT_IN_HEADER for name in TABLES if name in elf.sections]
    if module := elf.sections.get(_MODULE):
        text = elf.read(module.offset + _TEXT_IN_MODULE, POINTER_BYTES)
        if start := int.from_bytes(text, "little"):
            return start
        places.append(module.vaddr + _TEXT_IN_MODULE)
    relocations = elf.section(b".rela.dyn")
    for place in places:
        at = relocations.find(place.to_bytes(8, "little") + _RELATIVE)
        if at >= 0 and at % _RELOCATION == 0:
            return int.from_bytes(relocations[at + 16 : at + 24], "little")
    code = elf.sections.get(b".text")
    return code.vaddr if code else 0


def merged(first: array[int], second: array[int]) -> array[int]:
    """Return rows of which the second's stand for all code between its first and its last.

    A program with C in it has both kinds.
    """
    if not first or not second:
        return first or second
    low, high = second[0] >> 32, second[-1] >> 32
    rows = array("Q", [row for row in first if row >> 32 < low])
    rows.extend(second)
    rows.extend([row for row in first if row >> 32 > high])
    return rows


def _name_at(table: bytes, names: int, name: bytes) -> int:
    """Return where a name lies among the names; -1 where it does not."""
    for form in (name + b".abi0\0", name + b"\0"):
        at = table.find(b"\0" + form, names)
        if at >= 0:
            return at + 1 - names
    return -1


def _steps(table: _Table, at: int, pc: int, rows: array[int]) -> int:
    """Append rows by pairs of a change of the distance, and for how long it holds."""
    distance, first, last, known = -1, True, pc, -1
    for _ in range(MAX_STEPS):
        change, at = _varint(table.text, at)
        if not change and not first:
            break
        first = False
        distance += -(change >> 1) - 1 if change & 1 else change >> 1
        lasts, at = _varint(table.text, at)
        if not lasts or not 0 <= distance < 1 << 23 or distance % 8:
            break
        saved = _SAVED_RBP if distance >= 8 else 0  # of which one word is rbp
        row = RSP | (distance // 8 + 1) << 3 | saved
        if row != known:
            rows.append(pc << 32 | row)
            known, last = row, pc
        pc += lasts * table.quantum
        if pc >= MAX_PC:
            break
    return last


def _varint(table: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(table) and shift < 35:  # five bytes hold 32 bits
        byte = table[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    return value, at
