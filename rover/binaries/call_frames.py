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

RSP, RBP, AT_RBP, AT_RSP, REGISTER, SPECIAL, FRAME = range(7)
"""ROVER_RULE_*."""
RBP_KEPT, RBP_AT_RBP, RBP_LOST = 0, 127, 126
END, LOST, SIGNAL, MONT, OTHER = (SPECIAL | which << 3 for which in range(5))
"""ROVER_SPECIAL_*, each as a row."""
PLT, RETURN = 16, 32
AT_BITS: Final = 5
REGISTER_BITS: Final = 4

# numbers of x86-64's registers in DWARF
_RBP, _RSP, RIP = 6, 7, 16
_PLACES: Final = (10, 12, 11, 5, 13, 14, 4, 19, 9, 8, 7, 6, 3, 2, 1, 0)
"""Of registers in struct pt_regs, by their numbers in DWARF."""
_NONE: Final = -1
_PLT_EXPRESSION: Final = b"\x77\x08\x80\x00"  # breg7 8, breg16 0
_MONT_EXPRESSION: Final = b"\x77\x08\x79\x00\x38\x1e\x22\x06\x23\x08"
"""OpenSSL's bn_mul_mont: breg7 8, breg9 0, lit8, mul, plus, deref, plus_uconst 8."""
_OP_BREG0, _OP_DEREF, _OP_PLUS_UCONST, _OP_LIT0 = 0x70, 0x06, 0x23, 0x30


class State:
    """What the rules are at one place of a function."""

    __slots__ = ("ended", "low", "offset", "rbp", "returns", "rule")

    def __init__(self) -> None:
        self.rule = SPECIAL
        self.offset = 0
        """In bytes; of SPECIAL which, times 8."""
        self.low = 0
        """Of REGISTER which, of AT_* how many words are added."""
        self.rbp = RBP_KEPT
        self.ended = False
        self.returns = _NONE
        """Place of the register that the caller is in."""
        self.lose()

    def copy(self) -> State:
        """Return one that is equal."""
        state = State()
        state.take(self)
        return state

    def take(self, other: State) -> None:
        """Become equal to another."""
        self.rule, self.offset, self.low = other.rule, other.offset, other.low
        self.rbp, self.ended, self.returns = other.rbp, other.ended, other.returns

    def lose(self) -> None:
        """Know no longer where the caller is."""
        self.rule, self.offset = LOST & 7, LOST & ~7

    def packed(self) -> int:
        """Return the row without its pc."""
        if self.ended:
            return END
        words, rest = divmod(self.offset, 8)
        if self.returns != _NONE and self.rule == RSP and words == 0:
            return SPECIAL | (RETURN + self.returns) << 3
        if self.rule == REGISTER:
            words = words << REGISTER_BITS | self.low
        elif self.rule in {AT_RBP, AT_RSP}:
            words = words << AT_BITS | self.low
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
            if state.rule not in {RSP, RBP, REGISTER}:
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
            kept, at = uleb(text, at, stop)
            if register == _RBP:
                state.rbp = RBP_LOST
            elif register == RIP and kept < len(_PLACES) and kept not in {_RBP, _RSP}:
                state.returns = _PLACES[kept]
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
    """Let the CFA be counted from a register; the offset stays."""
    if register == _RSP:
        state.rule = RSP
    elif register == _RBP:
        state.rule = RBP
    elif register < len(_PLACES):
        state.rule, state.low = REGISTER, _PLACES[register]
    else:
        state.lose()


def _saved(state: State, register: int, offset: int) -> None:
    """Note where a register was saved, in bytes from the CFA."""
    if register == _RBP:
        words, rest = divmod(offset, 8)
        fits = not rest and -128 <= words < RBP_LOST and words
        state.rbp = words if fits else RBP_LOST
    elif register == RIP:
        state.returns = _NONE
        if offset == -8:
            state.ended = False
        else:
            state.lose()


def _restored(state: State, register: int, initial: State) -> None:
    if register == _RBP:
        state.rbp = initial.rbp
    elif register == RIP:
        state.ended, state.returns = initial.ended, initial.returns


def _cfa_expression(state: State, expression: bytes) -> None:
    """Take the few expressions that compilers and assembly make for a CFA."""
    state.lose()
    if expression.startswith(_PLT_EXPRESSION):
        # what follows: 8 more where the lowest four bits of rip are n or higher
        entered = expression[6] - _OP_LIT0 if len(expression) > 6 else -1
        if 0 <= entered < 16:
            state.rule, state.offset = SPECIAL, (PLT + entered) * 8
        return
    if expression == _MONT_EXPRESSION:
        state.rule, state.offset = MONT & 7, MONT & ~7
        return
    opcode = expression[0] - _OP_BREG0 if expression else -1
    offset, at = sleb(expression, 1, len(expression))
    added = 0
    if expression[at + 1 : at + 2] == bytes([_OP_PLUS_UCONST]):
        added, end = uleb(expression, at + 2, len(expression))
    else:
        end = at + 1
    if expression[at : at + 1] != bytes([_OP_DEREF]) or end != len(expression):
        return
    if opcode in {_RBP, _RSP} and not added % 8 and added < 8 << AT_BITS:
        state.rule = AT_RBP if opcode == _RBP else AT_RSP
        state.offset, state.low = offset, added // 8
