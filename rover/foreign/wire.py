"""What the agent and its child say to each other: packets of one line of numbers and some bytes.

A packet of a SOCK_SEQPACKET socket is one message: a word, numbers in decimal, a line feed, and
bytes to the end. Both sides read it so; the agent takes nothing in it for granted, since the child
reads what anybody may have written.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

MAX_PACKET: Final = 98_304
"""Bytes; the largest message, a command line or a file of 65,536 with a path, is smaller."""
MAX_NUMBER: Final = 1 << 64
MAX_NUMBERS: Final = 4_096

# The agent asks
STRINGS: Final = "strings"
"""limit of each end, with place (0, 1), then serial and thread id of each: a command line, and a
TMPDIR."""
LIST: Final = "list"
"""serial, directory, mount namespace, root's mount, root's inode, most entries, pids; bytes: path.
Look at a directory and at the files held in it."""
HOLD: Final = "hold"
"""serial, directory, mount namespace, root's mount, root's inode, own pid, uid, pids; bytes: path.
Look at one file, and hold it: look again with each look at the directory."""
DROP: Final = "drop"
"""directory, own pid, uid: hold that file no more."""
LEAVE: Final = "leave"
"""directory: forget it with all files held in it."""

# The child answers; to each request in its turn
READY: Final = "ready"
"""Said once through each socket, before all else."""
STRINGS_ARE: Final = "strings-are"
"""serial, errno of the command line, errno of the place, root's mount, root's inode, lengths of the
TMPDIR and of the command line's end, 0 where that is whole; bytes: TMPDIR, command line, its
end."""
LISTED: Final = "listed"
"""serial, directory, errno; bytes: own pids that have an entry, or what is wrong."""
FILE: Final = "file"
"""serial, directory, own pid, uid, modified (ns), owner's uid; bytes: content."""
TOUCHED: Final = "touched"
"""serial, directory, own pid, uid, modified (ns): the same content."""
NO_FILE: Final = "no-file"
"""serial, directory, own pid, uid; bytes: what is wrong, empty where there is just none."""
SLOW: Final = "slow"
"""serial, microseconds: the request was held up for so long; said before or right after its last
answer."""
DEFECT: Final = "defect"
"""serial; bytes: an exception that it had no answer to."""

SAME: Final = -1
"""In place of an errno: the directory has the entries that it had."""
TOO_MANY: Final = -2
NOBODY: Final = -3
"""None of the processes named has that root any more."""
FOREIGN: Final = -4
"""The path leads onto a file system that is not known to be local, or through a link."""


def pack(word: str, *numbers: int, text: bytes = b"") -> bytes:
    """Make a packet."""
    return " ".join([word, *map(str, numbers)]).encode("ascii") + b"\n" + text


def unpack(packet: bytes) -> tuple[str, list[int], bytes]:
    """Take a packet apart.

    Raises:
        ValueError: it is none.
    """
    head, end, text = packet.partition(b"\n")
    if not end:
        raise ValueError(f"no packet: {packet[:80]!r}")
    word, *numbers = head.decode("ascii").split(" ")
    if len(numbers) > MAX_NUMBERS:
        raise ValueError(f"a packet of {len(numbers)} numbers")
    found = [int(number) for number in numbers]
    if found and (max(found) > MAX_NUMBER or min(found) < -MAX_NUMBER):
        raise ValueError(f"a number out of range: {packet[:80]!r}")
    return word, found, text
