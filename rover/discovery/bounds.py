"""How much is kept of what a process may choose: its arguments, its paths, its cgroup.

Bounds are on the memory that a text takes, not on its characters: one wide character makes Python
keep every other of the same text in two or four bytes.
"""

from __future__ import annotations

import sys
from typing import Final

CUT: Final = "\N{HORIZONTAL ELLIPSIS}".encode()
"""Stands where something was left out."""
GAP: Final = b"\0" + CUT + b"\0"
"""Stands for arguments that were not read, as one of its own."""
ARGUMENTS_KEPT: Final = 4_096
"""Bytes of a command line; longer ones are kept from both ends, for a Java program's class stands
behind a class path of any length."""
ARGUMENTS_READ: Final = 4_096
"""Bytes read from each end of a command line: more than is shown, so that a secret's name is seen
where it stands before what is kept."""
PATH_ROOM: Final = 1_024
"""Bytes of memory that a path takes; the kernel's own limit is 4 KiB."""
CGROUP_ROOM: Final = 2_048
"""Bytes of memory that the lines of a cgroup take."""
_LEAST: Final = 128
"""Bytes from which on a piece of an argument is no option's name."""
_CHARACTER: Final = 4
"""Bytes of the longest character of UTF-8."""
_NAMING: Final = ("0::", "name=systemd")
"""Lines of a cgroup that names are read from first: the one tree of v2, and systemd's."""
_SIGNS: Final = (b"\0", b" ", b"=", b":", b'"', b"'")
_MOST_SIGNS: Final = 500
_SPARED: Final = 1_024
"""Bytes that are left at each end of a command line with more signs."""
_OVERHEAD: Final = sys.getsizeof("")


def bounded(arguments: bytes, limit: int = ARGUMENTS_KEPT) -> bytes:
    """Cut a command line to so many bytes, from both ends; `CUT` stands for what is left out.

    No character is cut in two. What is no UTF-8 counts byte by byte.
    """
    if len(arguments) <= limit:
        return arguments
    head, gap, tail = arguments.partition(GAP)
    if not gap:
        head = tail = arguments
    half = (limit - len(CUT)) // 2
    return _head(head, half) + CUT + _tail(tail, half)


def _head(text: bytes, size: int) -> bytes:
    """Give the first bytes, less those of a character that would be cut."""
    if len(text) <= size:
        return text
    end = size
    while end > size - _CHARACTER and _continues(text[end]):
        end -= 1
    return text[: size if _continues(text[end]) else end]


def _tail(text: bytes, size: int) -> bytes:
    """Give the last bytes, less those of a character that would be cut."""
    if len(text) <= size:
        return text
    begin = len(text) - size
    end = min(begin + _CHARACTER, len(text))
    whole = next((at for at in range(begin, end) if not _continues(text[at])), begin)
    return text[whole:]


def _continues(byte: int) -> bool:
    """Tell whether a byte goes on with a character of UTF-8."""
    return byte & 0xC0 == 0x80  # noqa: PLR2004 - the two bits that say so


def joined(head: bytes, tail: bytes) -> bytes:
    """Join what was read from both ends of a command line too long to be read whole.

    The tail begins within an argument whose own beginning is unknown. As that might be a secret's
    name, or the secret, it is left out, and so is the argument behind it if the piece is short
    enough to be an option's name.
    """
    tail = tail.rstrip(b"\0")
    piece, _, rest = tail.partition(b"\0")
    if len(piece) < _LEAST:
        rest = rest.partition(b"\0")[2]
    return head + GAP + rest


def spared(arguments: bytes) -> bytes:
    """Shorten a command line that is made of little but signs, each of which costs time.

    Whoever would keep the agent busy finds that masking costs him as much as us; all others have a
    few hundred of them at most.
    """
    if sum(map(arguments.count, _SIGNS)) <= _MOST_SIGNS:
        return arguments
    return joined(arguments[:_SPARED], arguments[-_SPARED:])


def bounded_text(text: str, room: int = PATH_ROOM) -> str:
    """Cut a text from both ends so that it takes at most so many bytes of memory."""
    if sys.getsizeof(text) <= room:
        return text
    cut = CUT.decode()
    # with the mark in it, no character takes less than two bytes
    width = 2 if max(text) <= "\uffff" else 4
    kept = max((room - 2 * _OVERHEAD) // width - 1, 3)
    # the end of a path is the program's name
    return text[: kept // 3] + cut + text[-(kept - kept // 3) :]


def bounded_cgroup(lines: str, room: int = CGROUP_ROOM) -> str:
    """Cut the lines of a cgroup to so much memory, and keep what naming needs.

    Each path is cut as `bounded_text` does. Of cgroup v1 most controllers have one path in common:
    lines whose path is known already go first.
    """
    if sys.getsizeof(lines) <= room:
        return lines
    listed = [bounded_text(line) for line in lines.split("\n")]
    paths: set[str] = set()
    ranked = []
    for number, line in enumerate(listed):
        path = line.rpartition(":")[2]
        is_naming = any(sign in line[:32] for sign in _NAMING)
        ranked.append((not is_naming, path in paths, number))
        paths.add(path)
    kept: list[int] = []
    for *_, number in sorted(ranked):
        if sys.getsizeof("\n".join([*(listed[one] for one in kept), listed[number]])) <= room:
            kept.append(number)
    return "\n".join(listed[number] for number in sorted(kept))
