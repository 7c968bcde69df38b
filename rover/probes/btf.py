"""Where the fields of the kernel's structures are, out of the kernel's own BTF.

The format is that of Documentation/bpf/btf.rst: a header, a table of types and a table of strings.
Types have no index, so they are walked; the structures asked for come early, and the walk ends with
them. The standard library alone: the loader's child imports this.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final, NamedTuple

VMLINUX: Final = Path("/sys/kernel/btf/vmlinux")
MAX_BYTES: Final = 64 << 20
"""A kernel's BTF is 4 to 8 MB."""
MAX_TYPES: Final = 2_000_000
"""A kernel has 100,000 to 200,000."""
MAX_NESTING: Final = 8
"""Levels of structures without a name, whose fields count as those of the one around them."""

MAGIC: Final = 0xEB9F
HEADER: Final = struct.Struct("=HBBIIIII")
TYPE: Final = struct.Struct("=III")
MEMBER: Final = struct.Struct("=III")

STRUCT, UNION = 4, 5
# bytes after a type's own twelve: a number of them, and a number for each of its elements
FIXED: Final = {
    1: 4,
    2: 0,
    3: 12,
    7: 0,
    8: 0,
    9: 0,
    10: 0,
    11: 0,
    12: 0,
    14: 4,
    16: 0,
    17: 4,
    18: 0,
}
EACH: Final = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}


class BtfError(ValueError):
    """The text is not BTF, or has not what was asked for."""


class _Type(NamedTuple):
    name: int
    kind: int
    elements: int
    has_bit_fields: bool
    size: int
    body: int
    """Where its members begin."""


class Btf:
    """The types of one BTF text, walked as far as needed."""

    def __init__(self, text: bytes) -> None:
        """Check the header.

        Raises:
            BtfError: the text is not BTF of this machine's byte order.
        """
        if len(text) < HEADER.size:
            raise BtfError(f"{len(text)} bytes are no BTF")
        magic, version, _, header, type_at, types, string_at, strings = HEADER.unpack_from(text)
        if magic != MAGIC or version != 1:
            raise BtfError(f"not BTF version 1: magic {magic:#x}, version {version}")
        self._text = text
        self._at = header + type_at
        self._end = self._at + types
        self._strings = header + string_at
        self._strings_end = self._strings + strings
        if max(self._end, self._strings_end) > len(text) or self._at < HEADER.size:
            raise BtfError("the tables of the BTF go beyond its end")
        self._types: list[_Type] = []

    def offset(self, structure: str, field: str) -> int:
        """Return where a field of a structure begins, in bytes.

        Raises:
            BtfError: there is no such structure or field, or it is a bit field; or the text ends
                or goes wrong before it.
        """
        bits = self._field(self._structure(structure), field, set(), MAX_NESTING)
        if bits is None:
            raise BtfError(f"struct {structure} has no field {field}")
        if bits % 8:
            raise BtfError(f"{field} of struct {structure} does not begin at a byte")
        return bits // 8

    def size(self, structure: str) -> int:
        """Return how many bytes a structure takes.

        Raises:
            BtfError: as `offset`.
        """
        return self._structure(structure).size

    def _structure(self, name: str) -> _Type:
        wanted = name.encode() + b"\0"
        known = 0
        while True:
            for each in self._types[known:]:
                known += 1
                at = self._strings + each.name
                if each.kind == STRUCT and self._text.startswith(wanted, at):
                    return each
            if not self._walk():
                raise BtfError(f"there is no struct {name}")

    def _field(self, structure: _Type, name: str, seen: set[int], nesting: int) -> int | None:
        """Return the bit at which the field begins, in it or in a part of it without a name.

        No type is looked into twice, in whatever circle they refer to each other.
        """
        wanted = name.encode() + b"\0"
        nameless = []
        for index in range(structure.elements):
            at = structure.body + index * MEMBER.size
            name_at: int
            type_id: int
            place: int
            name_at, type_id, place = MEMBER.unpack_from(self._text, at)
            width, bits = (
                (place >> 24, place & 0xFFFFFF) if structure.has_bit_fields else (0, place)
            )
            if not name_at:
                nameless.append((type_id, bits))
            elif self._text.startswith(wanted, self._strings + name_at):
                if width:
                    raise BtfError(f"{name} is a bit field")
                return bits
        for type_id, bits in nameless if nesting else ():
            part = self._by_id(type_id)
            if type_id in seen or part.kind not in (STRUCT, UNION):
                continue
            seen.add(type_id)
            found = self._field(part, name, seen, nesting - 1)
            if found is not None:
                return bits + found
        return None

    def _by_id(self, type_id: int) -> _Type:
        # the first type of the table has the id 1
        while len(self._types) < type_id:
            if not self._walk():
                raise BtfError(f"there is no type {type_id}")
        if not type_id:
            raise BtfError("a field without name and type")
        return self._types[type_id - 1]

    def _walk(self) -> bool:
        """Read one more type; False at the end of the table."""
        if self._at >= self._end:
            return False
        if self._at + TYPE.size > self._end or len(self._types) >= MAX_TYPES:
            raise BtfError("the types of the BTF go on beyond their table")
        name, facts, size = TYPE.unpack_from(self._text, self._at)
        kind, elements = facts >> 24 & 0x1F, facts & 0xFFFF
        body = self._at + TYPE.size
        if kind in EACH:
            self._at = body + EACH[kind] * elements
        elif kind in FIXED:
            self._at = body + FIXED[kind]
        else:
            raise BtfError(f"the BTF has types of the unknown kind {kind}")
        if self._at > self._end or name >= self._strings_end - self._strings:
            raise BtfError("a type of the BTF goes beyond its table")
        self._types.append(_Type(name, kind, elements, bool(facts >> 31), size, body))
        return True


def read(path: Path = VMLINUX) -> Btf:
    """Read the running kernel's BTF.

    Raises:
        BtfError: the kernel offers none, or one that is not understood.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BtfError(f"cannot read {path}: {error.strerror}") from error
    if len(text) > MAX_BYTES:
        raise BtfError(f"{path} is larger than {MAX_BYTES >> 20} MiB")
    return Btf(text)
