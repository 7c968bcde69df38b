"""Which code a process has in memory: the executable mappings of /proc/PID/maps (proc(5))."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

MAX_BYTES: Final = 8 << 20
"""A process may have 65,530 mappings, of some 100 bytes each."""
MAX_MAPPINGS: Final = 512
"""ROVER_MAPPINGS."""
MAX_LABEL: Final = 4_096


class Mapping:
    """One range of addresses with code."""

    __slots__ = ("device", "end", "inode", "label", "offset", "start")

    def __init__(  # noqa: PLR0917  the columns of the line
        self, start: int, end: int, offset: int, device: bytes, inode: int, label: bytes
    ) -> None:
        self.start = start
        self.end = end
        self.offset = offset
        self.device = device
        self.inode = inode
        self.label = label

    @property
    def is_file(self) -> bool:
        """Whether a file lies behind it."""
        return self.inode > 0


def read_lines(proc: str, pid: int) -> list[bytes]:
    """Return the lines of executable mappings as the kernel has them.

    Raises:
        OSError: the process is gone, or access is denied.
    """
    descriptor = os.open(f"{proc}/{pid}/maps", os.O_RDONLY | os.O_CLOEXEC)
    kept: list[bytes] = []
    rest, total = b"", 0
    try:
        while total < MAX_BYTES and (part := os.read(descriptor, 65_536)):
            total += len(part)
            lines = (rest + part).split(b"\n")
            rest = lines.pop()
            kept += [line for line in lines if _is_code(line)]
    finally:
        os.close(descriptor)
    return kept


def _is_code(line: bytes) -> bool:
    # [vsyscall] is the kernel's, and there also where the process has no code
    return b"x" in line[:80].split(b" ", 2)[1] and not line.endswith(b"[vsyscall]")


def mappings_of(lines: list[bytes]) -> tuple[list[Mapping], int]:
    """Take lines apart; return the mappings by address, and how many there was no room for.

    Those of files are kept before those without.
    """
    found = []
    for line in lines:
        fields = line.split(None, 5)
        if len(fields) < 5:
            continue
        start, _, end = fields[0].partition(b"-")
        label = fields[5] if len(fields) > 5 else b""
        mapping = Mapping(
            int(start, 16),
            int(end, 16),
            int(fields[2], 16),
            fields[3],
            int(fields[4]),
            label[:MAX_LABEL],
        )
        found.append(mapping)
    if len(found) > MAX_MAPPINGS:
        ranked = sorted(found, key=lambda each: (not each.is_file, each.start))[:MAX_MAPPINGS]
        return sorted(ranked, key=lambda each: each.start), len(found) - MAX_MAPPINGS
    return found, 0
