"""Perf maps, perf-PID.map in /tmp: what runtimes say of code that they have compiled themselves.

Lines of START SIZE NAME, numbers in hexadecimal. Most are only ever added to; Java's is written
anew each time that it is asked for (`jcmd PID Compiler.perfmap`). Whoever runs the process writes
it, so it is read in bounded pieces, and names lie in the file until they are asked for.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_right

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

MAX_BYTES: Final = 128 << 20
MAX_ENTRIES: Final = 500_000
A_READ: Final = 8 << 20
"""Bytes read at once, at most; the rest comes with the next look."""
_CHUNK: Final = 1 << 20
MAX_LINE: Final = 8_192
MAX_NAME: Final = 1_024
TAIL: Final = 64
"""Bytes of what was read that must still stand there."""
_MAX_ADDRESS: Final = 1 << 64


class PerfMap:
    """One process's map, read on as it grows."""

    def __init__(self, descriptor: int) -> None:
        """Take over an open file."""
        self._descriptor = descriptor
        self._forget()

    def _forget(self) -> None:
        self._read = 0
        self._tail = b""
        self._starts = array("Q")
        self._ends = array("Q")
        self._names = array("I")
        self._order: array[int] | None = None
        self._sorted = array("Q")

    @property
    def entries(self) -> int:
        """How many pieces of code it has told of."""
        return len(self._starts)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    @property
    def is_replaced(self) -> bool:
        """Whether another file is in its place, or none."""
        return os.fstat(self._descriptor).st_nlink == 0

    def read_on(self) -> bool:
        """Read what has been added, or all where it was written anew; tell whether that was any."""
        left = A_READ
        grown = False
        place = self._read - len(self._tail)
        if os.pread(self._descriptor, len(self._tail), place) != self._tail:
            self._forget()
        while left > 0 and self._read < MAX_BYTES and len(self._starts) < MAX_ENTRIES:
            part = os.pread(self._descriptor, _CHUNK, self._read)
            end = part.rfind(b"\n") + 1
            if not end:
                if len(part) < MAX_LINE:
                    break
                end = len(part)  # no line is that long: let it go
            self._take(part[:end])
            self._read += end
            self._tail = part[max(0, end - TAIL) : end]
            left -= end
            grown = True
        if grown:
            self._order = None
        return grown

    def _take(self, text: bytes) -> None:
        at = self._read
        for line in text.split(b"\n"):
            start, _, rest = line.partition(b" ")
            size, space, name = rest.partition(b" ")
            place = at + len(line) - len(name)
            at += len(line) + 1
            if not space or not name or len(self._starts) >= MAX_ENTRIES:
                continue
            try:
                first, extent = int(start, 16), int(size, 16)
            except ValueError:
                continue
            if extent > 0 and first >= 0 and first + extent < _MAX_ADDRESS:
                self._starts.append(first)
                self._ends.append(first + extent)
                self._names.append(place)

    def name(self, address: int) -> bytes | None:
        """Return what was said last of an address."""
        if self._order is None:
            order = sorted(range(len(self._starts)), key=self._starts.__getitem__)
            self._order = array("I", order)
            self._sorted = array("Q", [self._starts[each] for each in order])
        last = bisect_right(self._sorted, address) - 1
        for place in range(last, max(last - 4, -1), -1):
            entry = self._order[place]
            if address < self._ends[entry]:
                text = os.pread(self._descriptor, MAX_NAME, self._names[entry])
                return text.partition(b"\n")[0] or None
        return None
