"""Rows to unwind by, from .eh_frame: where the caller of each piece of code is found.

A row is one number, as bpf/profile.h has it: pc, where rbp was saved, an offset, a rule. What
cannot be put so (registers other than rsp and rbp, other expressions) ends a stack as lost.
The format is that of the LSB's "Exception Frames" and of DWARF 5, section 6.4. Every loop goes
forward in bytes that there are, so whatever stands in them it ends.
"""

from __future__ import annotations

from array import array

from rover.binaries.call_frames import FRAME, LOST, RIP, SIGNAL, State, run
from rover.binaries.leb128 import sleb, uleb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

MAX_FRAMES: Final = 400_000
"""Descriptions of functions in a file; the largest of today's has some 300,000."""
MAX_ROWS: Final = 600_000
MAX_CIES: Final = 16_384
MAX_PC: Final = 1 << 32


class _Cie:
    __slots__ = ("aligned", "code", "encoding", "initial", "lsda_aug", "returns", "signal")

    def __init__(self) -> None:
        self.code = 1
        self.aligned = 1
        self.encoding = 0
        self.returns = RIP
        self.signal = False
        self.lsda_aug = False
        self.initial = (0, 0)


class _Function:
    """Where a function is, and where it is described."""

    __slots__ = ("cie", "size", "span", "start")

    def __init__(self, start: int, size: int, span: tuple[int, int], cie: _Cie) -> None:
        self.start = start
        self.size = size
        self.span = span
        """Of its instructions, in the section."""
        self.cie = cie


def rows_of(text: bytes, address: int, base: int) -> array[int]:
    """Make the rows of a file, sorted.

    Args:
        text: its .eh_frame.
        address: where that is mapped, of the file's own addresses.
        base: what rows count from.
    """
    functions = _functions(text, address, base)
    rows = array("Q")
    end = -1
    for function in functions:
        if function.start < end:
            continue  # described twice; the first counts
        if function.start > end >= 0:
            rows.append(end << 32 | FRAME)
        _append_rows(text, function, rows)
        end = function.start + function.size
        if len(rows) > MAX_ROWS:
            break
    if 0 <= end < MAX_PC:
        rows.append(end << 32 | FRAME)
    return rows


def _functions(text: bytes, address: int, base: int) -> list[_Function]:
    """Return what is described, sorted by where it starts."""
    found: list[_Function] = []
    cies: dict[int, _Cie | None] = {}
    at, length = 0, len(text)
    while at + 8 <= length and len(found) < MAX_FRAMES:
        size = int.from_bytes(text[at : at + 4], "little")
        if size == 0:
            at += 4  # an end in the middle: linkers leave one where they join
            continue
        body = at + 4
        if size == 0xFFFFFFFF:
            size = int.from_bytes(text[body : body + 8], "little")
            body += 8
        stop = body + size
        if stop > length or size < 4:
            break
        back = int.from_bytes(text[body : body + 4], "little")
        if back:
            cie_at = body - back
            if cie_at not in cies and len(cies) < MAX_CIES:
                cies[cie_at] = _cie(text, cie_at) if cie_at >= 0 else None
            cie = cies.get(cie_at)
            if cie is not None and (frame := _frame(text, body + 4, stop, cie, address)):
                start, extent, instructions = frame
                start -= base
                if extent and start >= 0 and start + extent < MAX_PC:
                    found.append(_Function(start, extent, (instructions, stop), cie))
        at = stop
    found.sort(key=lambda function: function.start)
    return found


def _cie(text: bytes, at: int) -> _Cie | None:
    """Read a CIE; None where it is none that is understood."""
    size = int.from_bytes(text[at : at + 4], "little")
    body = at + 4
    if size == 0xFFFFFFFF:
        size = int.from_bytes(text[body : body + 8], "little")
        body += 8
    stop = body + size
    if stop > len(text) or text[body : body + 4] != b"\0\0\0\0":
        return None
    version = text[body + 4]
    names_end = text.find(b"\0", body + 5, min(stop, body + 5 + 16))
    if version not in {1, 3} or names_end < 0:
        return None
    names = text[body + 5 : names_end]
    cie = _Cie()
    at = names_end + 1
    cie.code, at = uleb(text, at, stop)
    cie.aligned, at = sleb(text, at, stop)
    if version == 1:
        cie.returns = text[at] if at < stop else 0
        at += 1
    else:
        cie.returns, at = uleb(text, at, stop)
    if names[:1] == b"z":
        extent, at = uleb(text, at, stop)
        after = min(at + extent, stop)
        _augment(cie, text[at:after], names[1:])
        at = after
    elif names:
        return None
    cie.initial = (at, stop)
    return cie


def _augment(cie: _Cie, text: bytes, names: bytes) -> None:
    """Take what a CIE says beyond the standard's: of it the encoding of addresses, and signals."""
    cie.lsda_aug = True
    at = 0
    for letter in names:
        if letter == ord("R"):
            cie.encoding = text[at] if at < len(text) else 0
            at += 1
        elif letter == ord("P"):
            encoding = text[at] if at < len(text) else 0
            at += 1 + {0: 8, 2: 2, 3: 4, 4: 8}.get(encoding & 7, 8)
        elif letter == ord("L"):
            at += 1
        elif letter == ord("S"):
            cie.signal = True


def _frame(text: bytes, at: int, stop: int, cie: _Cie, address: int) -> tuple[int, int, int] | None:
    """Return a function's start, size, and where its instructions begin."""
    width = {0: 8, 2: 2, 3: 4, 4: 8}.get(cie.encoding & 7)
    if width is None or at + 2 * width > stop:
        return None
    signed = bool(cie.encoding & 8)
    start = int.from_bytes(text[at : at + width], "little", signed=signed)
    applied = cie.encoding & 0x70
    if applied == 0x10:
        start += address + at
    elif applied:
        return None
    start &= (1 << 64) - 1
    extent = int.from_bytes(text[at + width : at + 2 * width], "little")
    at += 2 * width
    if cie.lsda_aug:
        skipped, at = uleb(text, at, stop)
        at += skipped
    return start, extent, at


def _append_rows(text: bytes, function: _Function, rows: array[int]) -> None:
    cie, start = function.cie, function.start
    if cie.signal:
        rows.append(start << 32 | SIGNAL)
        return
    if cie.returns != RIP:
        rows.append(start << 32 | LOST)
        return
    state = State()
    for _ in run(text, cie.initial, (cie.code, cie.aligned), state, state):
        pass
    initial = state.copy()
    pc, last = start, -1
    for step in run(text, function.span, (cie.code, cie.aligned), state, initial):
        row = state.packed()
        if row != last:
            rows.append(pc << 32 | row)
            last = row
        pc += step
        if pc >= start + function.size:
            return
    row = state.packed()
    if row != last:
        rows.append(pc << 32 | row)
