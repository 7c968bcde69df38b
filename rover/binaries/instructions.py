"""Machine code of x86-64, as far as it moves the stack: how long instructions are, what they do.

Intel's manual, volume 2, chapter 2 and appendix A. Whatever the bytes are, each step goes forward.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

(
    PUSH,  # value: whether it is rbp, and FIRST
    POP,  # value: whether it is rbp
    MOVE,  # rsp by so many bytes
    LOSE,  # rsp becomes what is not known
    FRAME,  # rbp becomes rsp
    UNFRAME,  # rsp becomes rbp, and this much more
    LEAVE,
    NO_CALLER,  # rbp becomes 0, as where a thread begins
    CALL,  # value: where to
    BRANCH,  # the same; it may go on behind
    JUMP,  # the same
    SWITCH,  # to where is not known
    STOP,  # nothing goes on behind
) = range(13)

FIRST: Final = 2
"""Of a push: it saves what a callee keeps, and what does nothing stands before it."""

_MODRM, _BYTE, _WORD, _FULL, _WIDE, _PLACE = 1, 2, 4, 8, 16, 32
"""What follows an opcode: a ModRM byte, and a number of 1, 2, 4 (2 by a prefix), as many or 8 with
REX.W, or 8 (an address) bytes."""
_PREFIXES: Final = frozenset(b"\x66\x67\xf0\xf2\xf3\x2e\x36\x3e\x26\x64\x65")
_VECTOR: Final = {0xC5: 1, 0xC4: 2, 0x62: 3}
"""Prefixes of vector instructions, and how many bytes belong to each (VEX, EVEX)."""
_IDLE: Final = frozenset({0x90, 0xCC, 0x0F1F})
_RSP, _RBP = 4, 5
"""Numbers of registers in instructions."""


def _one_byte() -> bytes:
    follows = bytearray(256)
    for first in range(0, 0x40, 8):
        follows[first : first + 6] = bytes([_MODRM] * 4 + [_BYTE, _FULL])
    follows[0x63] = follows[0x8F] = follows[0xFE] = follows[0xFF] = _MODRM
    follows[0x68], follows[0x69], follows[0x6A] = _FULL, _MODRM | _FULL, _BYTE
    follows[0x6B] = _MODRM | _BYTE
    follows[0x70:0x80] = bytes([_BYTE] * 16)
    follows[0x80:0x84] = bytes([_MODRM | each for each in (_BYTE, _FULL, _BYTE, _BYTE)])
    follows[0x84:0x90] = bytes([_MODRM] * 12)
    follows[0xA0:0xA4] = bytes([_PLACE] * 4)
    follows[0xA8], follows[0xA9] = _BYTE, _FULL
    follows[0xB0:0xC0] = bytes([_BYTE] * 8 + [_WIDE] * 8)
    follows[0xC0] = follows[0xC1] = follows[0xC6] = _MODRM | _BYTE
    follows[0xC2] = follows[0xCA] = _WORD
    follows[0xC7], follows[0xC8], follows[0xCD] = _MODRM | _FULL, _WORD | _BYTE, _BYTE
    follows[0xD0:0xD4] = bytes([_MODRM] * 4)
    follows[0xD8:0xE0] = bytes([_MODRM] * 8)
    follows[0xE0:0xE8] = bytes([_BYTE] * 8)
    follows[0xE8] = follows[0xE9] = _FULL
    follows[0xEB] = _BYTE
    follows[0xF6] = follows[0xF7] = _MODRM
    return bytes(follows)


def _two_bytes() -> bytes:
    follows = bytearray([_MODRM] * 256)
    for none in (*range(0x05, 0x0A), 0x0B, *range(0x30, 0x38), 0x77, *range(0xC8, 0xD0)):
        follows[none] = 0
    for none in (0xA0, 0xA1, 0xA2, 0xA8, 0xA9, 0xAA):
        follows[none] = 0
    follows[0x80:0x90] = bytes([_FULL] * 16)
    for byte in (0x0F, 0x70, 0x71, 0x72, 0x73, 0xA4, 0xAC, 0xBA, 0xC2, 0xC4, 0xC5, 0xC6):
        follows[byte] = _MODRM | _BYTE
    return bytes(follows)


_ONE: Final = _one_byte()
_TWO: Final = _two_bytes()
_BY_SIZE: Final = {
    0xE8: (CALL, 4),
    0xE9: (JUMP, 4),
    0xEB: (JUMP, 1),
    **dict.fromkeys([*range(0x70, 0x80), *range(0xE0, 0xE4)], (BRANCH, 1)),
    **dict.fromkeys(range(0x0F80, 0x0F90), (BRANCH, 4)),
}
"""What goes to where a number of so many bytes says."""
_ALWAYS: Final = {
    **dict.fromkeys((0xC3, 0xC2, 0xF4, 0xCC, 0x0F0B), STOP),
    **dict.fromkeys((0x68, 0x6A, 0x9C), PUSH),
    **dict.fromkeys((0x8F, 0x9D), POP),
    0xC9: LEAVE,
    0xC8: LOSE,
}
_MOVING: Final = frozenset(
    {
        *_BY_SIZE,
        *_ALWAYS,
        *range(0x50, 0x60),
        *(0x01, 0x29, 0x31, 0x33, 0x81, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0xFF, 0x0F1E),
    }
)
"""Opcodes of all that moves the stack or goes elsewhere."""


def moves_of(text: bytes, first: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    """Give what moves the stack or goes elsewhere, in the order of the code.

    Args:
        text: the code.
        first: where to begin in it.
        stop: where to end.

    Yields:
        Where the instruction is, where the next one is, what it does, and a value: see there.
    """
    at, idle = first, True
    while at < stop:
        after, opcode, rex, modrm = _decoded(text, at, stop)
        if after > stop:
            return
        if opcode in _MOVING and (move := _move(text, at, after, opcode, rex, modrm)):
            what, value = move
            if what == PUSH and idle and _is_kept(opcode, rex):
                value |= FIRST
            yield at, after, what, value
        idle = opcode in _IDLE
        at = after


def _decoded(text: bytes, at: int, stop: int) -> tuple[int, int, int, int]:  # noqa: C901, PLR0912  one kind of encoding a branch
    """Return where the next instruction is, the opcode, its REX prefix and its ModRM byte.

    The opcode has 0x0F00 with it where it is of the second table, 0x10000 where it is a vector's.
    """
    rex = modrm = 0
    short = narrow = False
    byte = text[at]
    while byte in _PREFIXES and at + 1 < stop:
        short |= byte == 0x66
        narrow |= byte == 0x67
        at += 1
        byte = text[at]
    if byte & 0xF0 == 0x40 and at + 1 < stop:
        rex = byte
        at += 1
        byte = text[at]
    at += 1
    opcode, follows = byte, _ONE[byte]
    if byte == 0x0F and at < stop:
        opcode = 0x0F00 | text[at]
        at += 1
        follows = _TWO[opcode & 0xFF]
        if opcode in {0x0F38, 0x0F3A}:
            follows = _MODRM | (_BYTE if opcode == 0x0F3A else 0)
            at += 1
    elif byte in _VECTOR and at + 3 < stop:
        table = 1 if byte == 0xC5 else text[at] & (0x1F if byte == 0xC4 else 7)
        at += _VECTOR[byte]
        opcode = 0x10000 | text[at]
        if table == 1:
            follows = _TWO[text[at]] & (_MODRM | _BYTE)
        else:
            follows = _MODRM | (_BYTE if table == 3 else 0)
        at += 1
    if follows & _MODRM and at < stop:
        modrm = text[at]
        at += 1
        if modrm < 0xC0:
            at = _behind_operand(text, at, stop, modrm)
        if opcode in {0xF6, 0xF7} and not modrm & 0x30:  # test
            follows |= _BYTE if opcode == 0xF6 else _FULL
    if follows & _BYTE:
        at += 1
    if follows & _WORD:
        at += 2
    if follows & _FULL:
        at += 2 if short and opcode not in {0xE8, 0xE9} else 4
    elif follows & _WIDE:
        at += 8 if rex & 8 else 2 if short else 4
    elif follows & _PLACE:
        at += 4 if narrow else 8
    return at, opcode, rex, modrm


def _behind_operand(text: bytes, at: int, stop: int, modrm: int) -> int:
    """Return where an operand in memory ends: a SIB byte and a displacement, as ModRM says."""
    base = modrm & 7
    if base == 4 and at < stop:
        base = text[at] & 7
        at += 1
    if modrm & 0xC0:
        return at + (1 if modrm & 0x40 else 4)
    return at + 4 if base == 5 else at


def _move(  # noqa: C901, PLR0911, PLR0912, PLR0917  one instruction a branch
    text: bytes, at: int, after: int, opcode: int, rex: int, modrm: int
) -> tuple[int, int] | None:
    """Tell what an instruction does to the stack, and the value; None for nothing."""
    wide, field, base = rex & 8, modrm >> 3 & 7, modrm & 7
    if opcode in _BY_SIZE:
        what, size = _BY_SIZE[opcode]
        return what, after + _signed(text, after, size)
    if opcode in _ALWAYS:
        return _ALWAYS[opcode], 0
    if opcode & ~7 == 0x50:
        return PUSH, int(opcode == 0x55 and not rex & 1)
    if opcode & ~7 == 0x58:
        if opcode == 0x5C and not rex & 1:
            return LOSE, 0
        return POP, int(opcode == 0x5D and not rex & 1)
    if opcode == 0xFF:
        return (SWITCH, 0) if field in {4, 5} else (PUSH, 0) if field == 6 else None
    if opcode == 0x0F1E:  # endbr64: somebody calls it
        return (CALL, at) if modrm == 0xFA else None
    if opcode in {0x31, 0x33}:
        return (NO_CALLER, 0) if modrm == 0xED and not rex & 5 else None
    if not wide:
        return None
    if opcode in {0x81, 0x83} and base == _RSP and not rex & 1 and modrm >= 0xC0:
        value = _signed(text, after, 4 if opcode == 0x81 else 1)
        if field in {0, 5}:  # add, subtract
            return MOVE, -value if field else value
        return None if field == 7 else (LOSE, 0)  # 7: compare
    if opcode == 0x8D and field == _RSP and not rex & 4:
        return _loaded(text, after, rex, modrm)
    if opcode in {0x89, 0x8B} and modrm >= 0xC0:
        to, by = base + (rex & 1) * 8, field + (rex & 4) * 2
        return _copied(*((to, by) if opcode == 0x89 else (by, to)))
    if opcode == 0x8B and field == _RSP and not rex & 4:
        return LOSE, 0
    if opcode in {0x01, 0x29, 0x87} and base == _RSP and not rex & 1 and modrm >= 0xC0:
        return LOSE, 0
    return None


def _loaded(text: bytes, after: int, rex: int, modrm: int) -> tuple[int, int]:
    """Tell where an address leads that rsp becomes."""
    size = {0x40: 1, 0x80: 4}.get(modrm & 0xC0, 0)
    base = modrm & 7
    if size and base == _RSP and not rex & 3 and text[after - size - 1] == 0x24:
        return MOVE, _signed(text, after, size)
    if size and base == _RBP and not rex & 1:
        return UNFRAME, _signed(text, after, size)
    return LOSE, 0


def _copied(to: int, by: int) -> tuple[int, int] | None:
    """Tell what it does that a register becomes another."""
    if (to, by) == (_RBP, _RSP):
        return FRAME, 0
    if (to, by) == (_RSP, _RBP):
        return UNFRAME, 0
    return (LOSE, 0) if to == _RSP else None


def _is_kept(opcode: int, rex: int) -> bool:
    """Tell whether a push is of rbx, rbp or r12 to r15."""
    return 0x54 <= opcode <= 0x57 if rex & 1 else opcode in {0x53, 0x55}


def _signed(text: bytes, end: int, size: int) -> int:
    return int.from_bytes(text[end - size : end], "little", signed=True)
