"""Code and constants that only the start of a process has used, taken out of its memory.

They stay in the page cache, from where a page that is used again comes in a microsecond. Little is
loaded for it, so that a child that has few modules can call it, too.
"""

from __future__ import annotations

import ctypes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Final

_MADV_DONTNEED: Final = 4
"""Of linux/mman.h: takes pages out of this process; those of a file come again when used."""
_READ_ONLY: Final = ("r-xp", "r--p")


def give_back() -> None:
    """Let go of what is mapped of files, nobody can write to and nobody has written to.

    A page that was written, as the loader does with what it relocates, would be lost.
    """
    libc = ctypes.CDLL(None)
    with open("/proc/self/smaps", encoding="utf-8", errors="replace") as smaps:  # noqa: PTH123
        lines = smaps.readlines()
    for begin, end in unwritten(lines):
        libc.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _MADV_DONTNEED)


def unwritten(lines: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Return where read-only private mappings of files without a page of their own begin and end.

    Args:
        lines: /proc/PID/smaps (proc(5)).
    """
    place = None
    for line in lines:
        words = line.split()
        if not words[0].endswith(":"):
            is_wanted = words[1] in _READ_ONLY and words[4] != "0"
            place = words[0] if is_wanted else None
        elif place and words[0] == "Anonymous:" and words[1] == "0":
            begin, _, end = place.partition("-")
            yield int(begin, 16), int(end, 16)
