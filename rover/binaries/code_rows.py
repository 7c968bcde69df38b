"""Rows to unwind by, from the code itself, where a file does not describe it: as musl's does not.

Each function is read from its beginning to its end: what it pushes, and how far it moves the stack.
Behind what goes elsewhere holds what was true where somebody came from. Whatever cannot be followed
so is walked by the frame pointer, as all of it would be without this.
"""

from __future__ import annotations

import itertools
from array import array
from bisect import bisect_left

from rover.binaries import instructions as code
from rover.binaries.call_frames import END, FRAME, RBP, RSP
from rover.binaries.eh_frame import MAX_PC, MAX_ROWS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Final

    from rover.binaries.elf import Elf, Section

MAX_CODE: Final = 1 << 20
"""Bytes of code that are read of one file: musl has 0.4 MB, which take 0.4 s. V8 has more, and
keeps its frame pointers."""
SHORTEST: Final = 16
"""Bytes of a hole that may hold a function; less is what lies between two."""
FEW: Final = 4_096
"""Bytes that are read without asking where functions begin: start-up code, which every file has."""
MAX_SECTIONS: Final = 16
_EXECUTABLE: Final = 4
"""SHF_EXECINSTR."""
_WHAT: Final = 0xFFFFFFFF
"""Of a row all but its pc."""
_SYSCALL: Final = b"\x0f\x05"
_EMPTY: Final = 8
"""Bytes from rsp to the CFA where a function begins."""
_FRAME: Final = 16
"""Bytes from rbp to the CFA where rbp points at the caller's."""


class _Stack:
    """How far a function has moved the stack."""

    __slots__ = ("depth", "frame", "known", "outermost", "saved", "top")

    def __init__(self) -> None:
        self.depth = _EMPTY
        """Bytes from rsp to the CFA."""
        self.saved = 0
        """Words from the CFA to where rbp is kept; 0: it is the caller's."""
        self.frame = 0
        """Bytes from rbp to the CFA, where rbp is of this function."""
        self.known = True
        self.outermost = False
        self.top = False
        """Whether rbp was pushed just now."""

    def copy(self) -> _Stack:
        other = _Stack()
        other.depth, other.saved, other.frame = self.depth, self.saved, self.frame
        other.known, other.outermost, other.top = self.known, self.outermost, self.top
        return other

    def row(self) -> int:
        """Return the row without its pc."""
        if self.outermost:
            return END
        if self.frame:
            rule, offset = RBP, self.frame
        else:
            rule, offset = RSP, self.depth
        words, rest = divmod(offset, 8)
        if not (self.known or self.frame) or rest or not 0 < words < 1 << 20:
            return FRAME
        return rule | words << 3 | (self.saved & 0xFF) << 24

    def change(self, what: int, value: int) -> None:  # noqa: C901  one instruction a branch
        """Follow one instruction."""
        pushed, self.top = self.top, what == code.PUSH and value & 1 > 0
        if what == code.PUSH:
            self.depth += 8
            if value & 1 and not (self.saved or self.frame) and self.depth <= 8 * 120:
                self.saved = -(self.depth // 8)
        elif what == code.POP:
            if value and self.saved and self.depth == -8 * self.saved:
                self.saved = self.frame = 0
            self.depth -= 8
            self.known = self.known and self.depth >= _EMPTY  # V8 takes its caller off the stack
        elif what == code.MOVE:
            self.depth -= value
        elif what == code.FRAME:
            if pushed:  # above that lies the caller, whatever was done before
                self.frame = self.depth = _FRAME
                self.saved, self.known = -_FRAME // 8, True
        elif what == code.UNFRAME:
            self.known = self.frame > 0
            self.depth = self.frame - value
        elif what == code.LEAVE:
            self.known = self.frame > 0
            self.depth, self.saved, self.frame = _EMPTY, 0, 0
        elif what == code.NO_CALLER:
            self.outermost = self.outermost or self.depth <= _EMPTY
        elif what == code.LOSE:
            self.known = False


def filled(rows: array[int], elf: Elf, starts: Callable[[int, int], Iterable[int]]) -> array[int]:
    """Return rows with more in between, where code is that they do not speak of.

    Args:
        rows: of the file, sorted.
        elf: the file.
        starts: gives where functions begin, from one of the file's addresses to another.
    """
    base = elf.base
    code_sections = [each for each in elf.sections.values() if each.flags & _EXECUTABLE]
    # what is shorter lies between two functions, unless the next one does not begin behind padding
    holes = [hole for hole in _holes(rows) if hole[1] - hole[0] >= SHORTEST or hole[1] % SHORTEST]
    pieces = []
    for section in code_sections[:MAX_SECTIONS]:
        at = section.vaddr - base
        for start, end, before in holes:
            first, stop = max(start, at), min(end, at + section.size)
            if first < stop:
                pieces.append((first, stop, section.offset + first - at, before))
    pieces.sort()
    total = sum(stop - first for first, stop, _, _ in pieces)
    if not 0 < total <= MAX_CODE:
        return rows
    known: list[int] = []
    if total > FEW:
        known = [at for first, stop, *_ in pieces for at in starts(first + base, stop + base)]
        known = sorted(known or _called(elf, code_sections))
    more: list[int] = []
    for first, stop, offset, before in pieces:
        here = known[bisect_left(known, first + base) : bisect_left(known, stop + base)]
        text = elf.read(offset, stop - first)
        if text.startswith(_SYSCALL):
            # glibc ends what it says of clone there, for it does not hold in the new thread
            more.append(first << 32 | before)
            continue
        if stop - first < SHORTEST:
            continue
        found = _rows(text, {each - base - first for each in here}, first)
        more += [pc + first << 32 | row for pc, row in found if pc + first < MAX_PC]
        if len(rows) + len(more) > MAX_ROWS:
            return rows
    return _merged(rows, more)


def _called(elf: Elf, code_sections: list[Section]) -> set[int]:
    """Return what is called from anywhere in a file that names no functions."""
    found: set[int] = set()
    left = MAX_CODE
    for section in code_sections[:MAX_SECTIONS]:
        text = elf.read(section.offset, min(section.size, left))
        left -= len(text)
        found.update(
            section.vaddr + value
            for _, _, what, value in code.moves_of(text, 0, len(text))
            if what == code.CALL
        )
    return found


def _merged(rows: array[int], more: list[int]) -> array[int]:
    """Return both, sorted; of two for one place that of the code, and of equal ones the first."""
    merged = array("Q")
    for row in sorted([*rows, *more]):
        if merged and merged[-1] >> 32 == row >> 32:
            if row & _WHAT == FRAME:
                continue
            merged.pop()
        if not merged or merged[-1] & _WHAT != row & _WHAT:
            merged.append(row)
    return merged


def _holes(rows: array[int]) -> Iterator[tuple[int, int, int]]:
    """Give from where to where nothing is said, and the row before without its pc."""
    start, before, last = 0, FRAME, FRAME
    for row in rows:
        pc, what = row >> 32, row & _WHAT
        if start >= 0 and pc > start:
            yield start, pc, before
        start, before = (pc, last) if what == FRAME else (-1, FRAME)
        last = what
    if start >= 0:
        yield start, MAX_PC, before


def _rows(text: bytes, starts: set[int], origin: int) -> Iterator[tuple[int, int]]:
    """Give rows of a piece of code by their places in it, and one for what is behind it.

    Args:
        text: the code.
        starts: where functions are known to begin.
        origin: address of the piece.
    """
    moves: list[tuple[int, int, int, int]] = []
    edges = sorted({0, *starts, len(text)})
    for first, stop in itertools.pairwise(edges):
        moves += code.moves_of(text, first, stop)
    begins = {0, *starts}
    begins.update(value for _, _, what, value in moves if what == code.CALL)
    begins.update(
        at
        for at, _, what, value in moves
        if what == code.PUSH and value & code.FIRST and (at + origin) % SHORTEST == 0
    )
    left = sorted((begin for begin in begins if 0 <= begin < len(text)), reverse=True)
    stack, last = _Function(0), -1
    for at, after, what, value in moves:
        while left and left[-1] <= at:
            stack, last = _Function(left[-1]), -1
            if (row := stack.here.row()) != last:
                yield left[-1], (last := row)
            left.pop()
        stack.follow(at, after, what, value)
        if (row := stack.here.row()) != last and not (left and left[-1] == after):
            yield after, (last := row)
    for begin in reversed(left):
        yield begin, _Stack().row()
    yield len(text), FRAME


class _Function:
    """One function, as far as it was read."""

    __slots__ = ("_body", "_expected", "_inside", "_since", "_spent", "_switches", "here")

    def __init__(self, at: int) -> None:
        self.here = self._body = _Stack()
        """The one that holds for most of it so far."""
        self._expected: dict[int, _Stack] = {}
        """What holds where somebody goes to, further on."""
        self._inside = at
        """The farthest of these that is certainly of this function."""
        self._switches = False
        """Whether it goes to places of which nothing is known."""
        self._since = at
        self._spent: dict[int, int] = {}
        """Bytes of code by row."""

    def follow(self, at: int, after: int, what: int, value: int) -> None:
        """Follow one instruction."""
        here = self.here
        if what in {code.BRANCH, code.JUMP} and value > at:
            self._expected.setdefault(value, here)
            # with nothing on its stack it may go over to another function
            if what == code.BRANCH or here.depth != _EMPTY:
                self._inside = max(self._inside, value)
        if what in {code.STOP, code.JUMP}:
            self._count(after)
            self._go_on(after, left=what == code.STOP or here.depth == _EMPTY)
        elif what == code.SWITCH and here.depth != _EMPTY:
            self._switches = True
        elif what <= code.NO_CALLER:
            self._count(after)
            self.here = here.copy()
            self.here.change(what, value)

    def _count(self, after: int) -> None:
        """Note for how long a row held."""
        row = self.here.row()
        self._spent[row] = spent = self._spent.get(row, 0) + after - self._since
        self._since = after
        if self.here.depth != _EMPTY and spent >= self._spent.get(self._body.row(), 0):
            self._body = self.here

    def _go_on(self, after: int, *, left: bool) -> None:
        """Say what holds behind the end of a piece: there may be some bytes that are skipped.

        Args:
            after: where it ends.
            left: whether the function is left there; else it goes on elsewhere.
        """
        for near in range(after, after + SHORTEST):
            if (known := self._expected.pop(near, None)) is not None:
                self.here = known
                return
        if self._inside <= after and not self._switches:
            self.here = _Stack()  # nobody comes there but from other functions
        elif left:
            self.here = self._body
