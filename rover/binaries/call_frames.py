"""What call frame instructions say: how the caller is found, instruction by instruction.

DWARF 5, section 6.4.2, for x86-64. A rule is what bpf/profile.h can hold of it; whatever else there
is ends a stack as lost. Every loop goes forward in bytes that there are, so it ends.
"""

from __future__ import annotations

from rover.binaries.leb128 import sleb, uleb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

MAX_REMEMBERED: Final = 32

RSP, RBP, AT_RBP, AT_RSP, PLT, END, FRAME, SIGNAL = range(8)
"""ROVER_RULE_*."""
RBP_KEPT, RBP_AT_RBP, RBP_LOST = 0, 127, 126
LOST: Final = END | 1 << 3
"""The caller cannot be told."""

# numbers of x86-64's registers in DWARF
_RBP, _RSP, RIP = 6, 7, 16
_PLT_EXPRESSION: Final = b"\x77\x08\x80\x00"  # breg7 8, breg16 0
_OP_BREG0, _OP_DEREF, _OP_PLUS_UCONST, _OP_LIT0 = 0x70, 0x06, 0x23, 0x30


class State:
    """What the rules are at one place of a function."""

    __slots__ = ("ended", "offset", "rbp", "rule")

    def __init__(self) -> None:
        self.rule = END
        self.offset = 8  # END with a word: lost
        self.rbp = RBP_KEPT
        self.ended = False

    def copy(self) -> State:
        """Return one that is equal."""
        state = State()
        state.take(self)
        return state

    def take(self, other: State) -> None:
        """Become equal to another."""
        self.rule, self.offset = other.rule, other.offset
        self.rbp, self.ended = other.rbp, other.ended

    def lose(self) -> None:
        """Know no longer where the caller is."""
        self.rule, self.offset = END, 8

    def packed(self) -> int:
        """Return the row without its pc."""
        if self.ended:
            return END
        words, rest = divmod(self.offset, 8)
        if rest or not -(1 << 20) <= words < 1 << 20:
            return LOST
        return self.rule | (words & 0x1FFFFF) << 3 | (self.rbp & 0xFF) << 24


def run(  # noqa: C901, PLR0912, PLR0915  one instruction a branch
    text: bytes, span: tuple[int, int], factors: tuple[int, int], state: State, initial: State
) -> Iterator[int]:
    """Change the state by instructions; yield each step forward before it is made.

    Args:
        text: the section.
        span: of the instructions in it.
        factors: of steps and of offsets.
        state: is changed.
        initial: what `restore` goes back to.
    """
    at, stop = span
    code, aligned = factors
    remembered: list[State] = []
    while at < stop:
        byte = text[at]
        at += 1
        high, low = byte & 0xC0, byte & 0x3F
        if high == 0x40:  # advance_loc
            yield low * code
        elif high == 0x80:  # offset
            offset, at = uleb(text, at, stop)
            _saved(state, low, offset * aligned)
        elif high == 0xC0:  # restore
            _restored(state, low, initial)
        elif byte == 0x00:  # nop
            pass
        elif byte in {0x02, 0x03, 0x04}:  # advance_loc1, 2, 4
            width = 1 << byte - 2
            yield int.from_bytes(text[at : at + width], "little") * code
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
            elif register == RIP:
                state.lose()
            at += size
        elif byte in {0x07, 0x08}:  # undefined, same_value
            register, at = uleb(text, at, stop)
            if register == RIP:
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


def _cfa_register(state: State, register: int) -> None:
    if register == _RSP:
        state.rule = RSP
    elif register == _RBP:
        state.rule = RBP
    else:
        state.lose()


def _saved(state: State, register: int, offset: int) -> None:
    """Note where a register was saved, in bytes from the CFA."""
    if register == _RBP:
        words, rest = divmod(offset, 8)
        fits = not rest and -128 <= words < RBP_LOST and words
        state.rbp = words if fits else RBP_LOST
    elif register == RIP:
        if offset == -8:
            state.ended = False
        else:
            state.lose()


def _restored(state: State, register: int, initial: State) -> None:
    if register == _RBP:
        state.rbp = initial.rbp
    elif register == RIP:
        state.ended = initial.ended


def _cfa_expression(state: State, expression: bytes) -> None:
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
