"""Rows to unwind by, from .eh_frame: where the caller of each piece of code is found.

A row is one number, as bpf/profile.h has it: pc, where rbp was saved, an offset, a rule. What
cannot be put so (registers other than rsp and rbp, other expressions) ends a stack as lost.
The format is that of the LSB's "Exception Frames" and of DWARF 5, section 6.4. Every loop goes
forward in bytes that there are, so whatever stands in them it ends.
"""

from __future__ import annotations

from array import array

from rover.binaries.leb128 import sleb, uleb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

MAX_FRAMES: Final = 400_000
"""Descriptions of functions in a file; the largest of today's has some 300,000."""
MAX_ROWS: Final = 600_000
MAX_CIES: Final = 16_384
MAX_REMEMBERED: Final = 32
MAX_PC: Final = 1 << 32

RSP, RBP, AT_RBP, AT_RSP, PLT, END, FRAME, SIGNAL = range(8)
"""ROVER_RULE_*."""
RBP_KEPT, RBP_AT_RBP, RBP_LOST = 0, 127, 126
LOST: Final = END | 1 << 3
"""The caller cannot be told."""

# numbers of x86-64's registers in DWARF
_RBP, _RSP, _RIP = 6, 7, 16
_PLT_EXPRESSION: Final = b"\x77\x08\x80\x00"  # breg7 8, breg16 0
_OP_BREG0, _OP_DEREF, _OP_PLUS_UCONST, _OP_LIT0 = 0x70, 0x06, 0x23, 0x30


class _Cie:
    __slots__ = ("aligned", "code", "encoding", "initial", "lsda_aug", "returns", "signal")

    def __init__(self) -> None:
        self.code = 1
        self.aligned = 1
        self.encoding = 0
        self.returns = _RIP
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


class _State:
    """What the rules are at one place of a function."""

    __slots__ = ("ended", "offset", "rbp", "rule")

    def __init__(self) -> None:
        self.rule = END
        self.offset = 8  # END with a word: lost
        self.rbp = RBP_KEPT
        self.ended = False

    def copy(self) -> _State:
        state = _State()
        state.take(self)
        return state

    def take(self, other: _State) -> None:
        self.rule, self.offset = other.rule, other.offset
        self.rbp, self.ended = other.rbp, other.ended

    def lose(self) -> None:
        self.rule, self.offset = END, 8

    def packed(self) -> int:
        """Return the row without its pc."""
        if self.ended:
            return END
        words, rest = divmod(self.offset, 8)
        if rest or not -(1 << 20) <= words < 1 << 20:
            return LOST
        return self.rule | (words & 0x1FFFFF) << 3 | (self.rbp & 0xFF) << 24


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
    if cie.returns != _RIP:
        rows.append(start << 32 | LOST)
        return
    state = _State()
    for _ in _run(text, cie.initial, cie, state, state):
        pass
    initial = state.copy()
    pc, last = start, -1
    for step in _run(text, function.span, cie, state, initial):
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


def _run(  # noqa: C901, PLR0912, PLR0915  one instruction a branch
    text: bytes, span: tuple[int, int], cie: _Cie, state: _State, initial: _State
) -> Iterator[int]:
    """Change the state by instructions; yield each step forward before it is made."""
    at, stop = span
    remembered: list[_State] = []
    aligned = cie.aligned
    while at < stop:
        byte = text[at]
        at += 1
        high, low = byte & 0xC0, byte & 0x3F
        if high == 0x40:  # advance_loc
            yield low * cie.code
        elif high == 0x80:  # offset
            offset, at = uleb(text, at, stop)
            _saved(state, low, offset * aligned)
        elif high == 0xC0:  # restore
            _restored(state, low, initial)
        elif byte == 0x00:  # nop
            pass
        elif byte in {0x02, 0x03, 0x04}:  # advance_loc1, 2, 4
            width = 1 << byte - 2
            yield int.from_bytes(text[at : at + width], "little") * cie.code
            at += width
        elif byte == 0x0E:  # def_cfa_offset
            state.offset, at = uleb(text, at, stop)
            if state.rule not in {RSP, RBP}:
                state.lose()
        elif byte == 0x0C:  # def_cfa
            register, at = uleb(text, at, stop)
            state.offset, at = uleb(text, at, stop)
            _cfa_register(state, register)
        elif byte == 0x0D:  # def_cfa_register
            register, at = uleb(text, at, stop)
            _cfa_register(state, register)
        elif byte == 0x0A:  # remember_state
            if len(remembered) >= MAX_REMEMBERED:
                return
            remembered.append(state.copy())
        elif byte == 0x0B:  # restore_state
            if not remembered:
                return
            state.take(remembered.pop())
        elif byte == 0x0F:  # def_cfa_expression
            size, at = uleb(text, at, stop)
            _cfa_expression(state, text[at : min(at + size, stop)])
            at += size
        elif byte in {0x10, 0x16}:  # expression, val_expression
            register, at = uleb(text, at, stop)
            size, at = uleb(text, at, stop)
            if register == _RBP:
                at_rbp = byte == 0x10 and text[at : at + size] == b"\x76\x00"
                state.rbp = RBP_AT_RBP if at_rbp else RBP_LOST
            elif register == _RIP:
                state.lose()
            at += size
        elif byte in {0x07, 0x08}:  # undefined, same_value
            register, at = uleb(text, at, stop)
            if register == _RIP:
                state.ended = byte == 0x07
            elif register == _RBP:
                state.rbp = RBP_LOST if byte == 0x07 else RBP_KEPT
        elif byte == 0x06:  # restore_extended
            register, at = uleb(text, at, stop)
            _restored(state, register, initial)
        elif byte in {0x05, 0x14}:  # offset_extended, val_offset
            register, at = uleb(text, at, stop)
            offset, at = uleb(text, at, stop)
            if byte == 0x05:
                _saved(state, register, offset * aligned)
        elif byte in {0x11, 0x15}:  # offset_extended_sf, val_offset_sf
            register, at = uleb(text, at, stop)
            offset, at = sleb(text, at, stop)
            if byte == 0x11:
                _saved(state, register, offset * aligned)
        elif byte == 0x09:  # register
            register, at = uleb(text, at, stop)
            _, at = uleb(text, at, stop)
            if register == _RBP:
                state.rbp = RBP_LOST
        elif byte == 0x12:  # def_cfa_sf
            register, at = uleb(text, at, stop)
            offset, at = sleb(text, at, stop)
            state.offset = offset * aligned
            _cfa_register(state, register)
        elif byte == 0x13:  # def_cfa_offset_sf
            offset, at = sleb(text, at, stop)
            state.offset = offset * aligned
        elif byte == 0x2E:  # GNU_args_size
            _, at = uleb(text, at, stop)
        elif byte == 0x2F:  # GNU_negative_offset_extended
            register, at = uleb(text, at, stop)
            offset, at = uleb(text, at, stop)
            _saved(state, register, -offset * aligned)
        else:  # set_loc and whatever is unknown: what follows cannot be told
            state.lose()
            return


def _cfa_register(state: _State, register: int) -> None:
    if register == _RSP:
        state.rule = RSP
    elif register == _RBP:
        state.rule = RBP
    else:
        state.lose()


def _saved(state: _State, register: int, offset: int) -> None:
    """Note where a register was saved, in bytes from the CFA."""
    if register == _RBP:
        words, rest = divmod(offset, 8)
        fits = not rest and -128 <= words < RBP_LOST and words
        state.rbp = words if fits else RBP_LOST
    elif register == _RIP:
        if offset == -8:
            state.ended = False
        else:
            state.lose()


def _restored(state: _State, register: int, initial: _State) -> None:
    if register == _RBP:
        state.rbp = initial.rbp
    elif register == _RIP:
        state.ended = initial.ended


def _cfa_expression(state: _State, expression: bytes) -> None:
    """Take the few expressions that compilers and assembly make for a CFA."""
    if expression.startswith(_PLT_EXPRESSION):
        # what follows: 8 more where the lowest four bits of rip are n or higher
        literal = expression[6:7]
        state.rule, state.offset = PLT, (literal[0] - _OP_LIT0) * 8 if literal else 8
        if not 0 <= state.offset < 16 * 8:
            state.lose()
        return
    opcode = expression[0] - _OP_BREG0 if expression else -1
    offset, at = sleb(expression, 1, len(expression))
    rest = expression[at:]
    if opcode == _RBP and rest == bytes([_OP_DEREF]):
        state.rule, state.offset = AT_RBP, offset
    elif opcode == _RSP and rest == bytes([_OP_DEREF, _OP_PLUS_UCONST, 8]):
        state.rule, state.offset = AT_RSP, offset
    else:
        state.lose()
