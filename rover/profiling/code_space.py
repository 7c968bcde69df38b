"""What the kernel knows of code: rows of files, mappings of processes, where they lie in maps."""

from __future__ import annotations

import ctypes
import logging
from typing import TYPE_CHECKING, Final

from rover.heap import give_back
from rover.probes import libbpf
from rover.profiling.layout import MAPPINGS, ROWS, TARGETS, MappingValue

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rover.binaries.reader import CodeMapping, Reader

log = logging.getLogger("rover.profiling")

ROW_BYTES: Final = 8
TRAMPOLINE: Final = 1
"""Image of CPython's trampolines; their one row comes with the mapping."""


class Room:
    """Places in an array, given out in pieces."""

    def __init__(self, size: int) -> None:
        self._free = [(0, size)]

    def take(self, amount: int) -> int | None:
        """Return where a piece begins; None where there is no room."""
        for at, (first, size) in enumerate(self._free):
            if size >= amount:
                if size == amount:
                    del self._free[at]
                else:
                    self._free[at] = first + amount, size - amount
                return first
        return None

    def give(self, first: int, amount: int) -> None:
        """Take a piece back."""
        merged: list[tuple[int, int]] = []
        for start, size in sorted([*self._free, (first, amount)]):
            if merged and sum(merged[-1]) == start:
                merged[-1] = merged[-1][0], merged[-1][1] + size
            elif size:
                merged.append((start, size))
        self._free = merged


class CodeSpace:
    """Writes rows and mappings into the kernel's maps; one thread at a time."""

    def __init__(self, maps: dict[str, int], reader: Reader) -> None:
        """Know of nothing yet.

        Args:
            maps: descriptors by the names of bpf/profile.c.
            reader: knows the code of processes.
        """
        self._maps = maps
        self._reader = reader
        self._room = Room(ROWS)
        self._rows: dict[int, tuple[int, int]] = {}
        """First row and amount by image; trampolines by their row, negative."""
        self._users: dict[int, set[int]] = {}
        """Images by process."""
        self._slots: dict[int, int] = {}
        self._half: dict[int, int] = {}
        self._refused = False

    def enter(self, pid: int, mappings: Sequence[CodeMapping]) -> tuple[int, int]:
        """Make a process's code known; return where its mappings begin, and how many they are.

        The former ones stay as they were until the call after this.

        Raises:
            ReadError: rows cannot be read.
            OSError: the kernel's maps cannot be written.
        """
        known = set(self._rows)
        slot = self._slots.get(pid)
        if slot is None:
            slot = min(set(range(TARGETS)) - set(self._slots.values()))
            self._slots[pid] = slot
        half = self._half[pid] = 1 - self._half.get(pid, 1)
        first = (2 * slot + half) * MAPPINGS
        self._users[pid] = {_key(each) for each in mappings} | self._users.get(pid, set())
        values = (MappingValue * max(len(mappings), 1))()
        for value, mapping in zip(values, mappings, strict=False):
            value.start, value.end, value.bias = mapping.start, mapping.end, mapping.bias
            value.first, value.rows = self._rows_of(mapping)
        indices = (ctypes.c_uint32 * max(len(mappings), 1))(*range(first, first + len(mappings)))
        if mappings:
            libbpf.update_all(self._maps["mappings"], indices, values, len(mappings))
        self._users[pid] = {_key(each) for each in mappings}
        if self._rows.keys() != known:
            give_back()
        return first, len(mappings)

    def leave(self, pid: int) -> None:
        """Forget a process, and rows that no other has."""
        self._slots.pop(pid, None)
        self._half.pop(pid, None)
        self._users.pop(pid, None)
        used = set().union(*self._users.values())
        for image in [each for each in self._rows if each not in used]:
            self._room.give(*self._rows.pop(image))

    def forget_rows(self) -> None:
        """Forget which rows there are: a new child numbers images anew."""
        self._room = Room(ROWS)
        self._rows.clear()
        self._users.clear()

    def _rows_of(self, mapping: CodeMapping) -> tuple[int, int]:
        key = _key(mapping)
        if not mapping.image:
            return 0, 0
        known = self._rows.get(key)
        if known is None:
            amount, parts = self._read_rows(mapping)
            first = self._room.take(amount) if amount else 0
            if first is None:
                self._say_no_room(amount)
                return 0, 0
            known = self._rows[key] = first, amount
            for part in parts:
                self._write(first, part)
                first += len(part) // ROW_BYTES
        return known

    def _read_rows(self, mapping: CodeMapping) -> tuple[int, Iterator[bytes]]:
        if mapping.image == TRAMPOLINE:
            return 1, iter([(mapping.trampoline & 0xFFFFFFFF).to_bytes(ROW_BYTES, "little")])
        return self._reader.rows(mapping.image)

    def _say_no_room(self, amount: int) -> None:
        if not self._refused:
            self._refused = True
            log.warning(
                "no room for %d rows of a file: its stacks are walked by frame pointers", amount
            )

    def _write(self, first: int, text: bytes) -> None:
        amount = len(text) // ROW_BYTES
        if amount:
            indices = (ctypes.c_uint32 * amount)(*range(first, first + amount))
            values = (ctypes.c_uint64 * amount).from_buffer_copy(text)
            libbpf.update_all(self._maps["rows"], indices, values, amount)


def _key(mapping: CodeMapping) -> int:
    return -mapping.trampoline if mapping.image == TRAMPOLINE else mapping.image
