"""Names of the kernel's functions: one pass for the addresses asked, of which nothing is kept."""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

UNKNOWN: Final = "[kernel]"
_CHUNK: Final = 1 << 20
_MAX_BYTES: Final = 64 << 20
_CODE: Final = frozenset(b"tTwW")
_ZERO: Final = b"0" * 16


def names_of(descriptor: int, addresses: Iterable[int]) -> dict[int, str]:
    """Name addresses of the kernel's code.

    Args:
        descriptor: open /proc/kallsyms; who opened it decides whether it holds addresses.
        addresses: any.
    """
    wanted = sorted(set(addresses))
    # whatever begins closest before each address
    best: dict[int, tuple[bytes, bytes]] = {}
    os.lseek(descriptor, 0, os.SEEK_SET)
    rest, total = b"", 0
    while total < _MAX_BYTES:
        part = os.read(descriptor, _CHUNK)
        total += len(part)
        lines = (rest + part).split(b"\n")
        rest = lines.pop() if part else b""
        _note(lines, wanted, best)
        if not part:
            break
    return {
        address: best[address][1].decode("ascii", "replace") if address in best else UNKNOWN
        for address in wanted
    }


def _note(lines: list[bytes], wanted: list[int], best: dict[int, tuple[bytes, bytes]]) -> None:
    """Look through some lines, which begin with 16 digits and so sort as their addresses do."""
    lines = [line for line in lines if line[17:18] and line[17] in _CODE]
    lines.sort()
    if not lines or lines[-1][:16] == _ZERO:
        return
    first = int(lines[0][:16], 16)
    for address in wanted[bisect_left(wanted, first) :]:
        digits = b"%016x~" % address
        at = bisect_right(lines, digits) - 1
        start = lines[at][:16]
        known = best.get(address)
        if known is None or start >= known[0]:
            # of several names for one place the first in the file's order is as good as any
            best[address] = start, lines[at][19:].partition(b"\t")[0]
