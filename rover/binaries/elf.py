"""ELF files of 64 bits, read by their headers alone; whoever wrote them may mean harm.

Whatever a header says is bounded before it is believed: numbers of entries, sizes, places. A part
that lies beyond the file's end is cut there. The standard library alone: the child imports this.
"""

from __future__ import annotations

import os
import struct
from functools import cached_property

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

MAX_SEGMENTS: Final = 128
MAX_SECTIONS: Final = 512
"""Those of an executable; relocatable objects may have more, which are not mapped."""
MAX_PART: Final = 96 << 20
"""Bytes of one section; symbol names of the largest browsers are some 100 MB."""
MAX_NAMES: Final = 1 << 20
MAX_NOTES: Final = 65_536
MAX_BUILD_ID: Final = 64

PT_LOAD: Final = 1
PT_NOTE: Final = 4
PF_X: Final = 1
SHT_NOBITS: Final = 8
SHF_COMPRESSED: Final = 0x800
NT_GNU_BUILD_ID: Final = 3
EM_X86_64: Final = 62

_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT: Final = struct.Struct("<IIQQQQQQ")
_SECTION: Final = struct.Struct("<IIQQQQIIQQ")
_NOTE: Final = struct.Struct("<III")
_ELFCLASS64: Final = 2
_ELFDATA2LSB: Final = 1


class ElfError(ValueError):
    """The file is no ELF file that is understood."""


class Segment:
    """A part of the file that is mapped."""

    __slots__ = ("flags", "kind", "offset", "size", "vaddr")

    def __init__(self, kind: int, flags: int, offset: int, vaddr: int, size: int) -> None:
        self.kind = kind
        self.flags = flags
        self.offset = offset
        self.vaddr = vaddr
        self.size = size


class Section:
    """A named part of the file."""

    __slots__ = ("entry", "flags", "kind", "link", "offset", "size", "vaddr")

    def __init__(  # noqa: PLR0917  the columns of the header
        self, kind: int, flags: int, vaddr: int, offset: int, size: int, link: int, entry: int
    ) -> None:
        self.kind = kind
        self.flags = flags
        self.vaddr = vaddr
        self.offset = offset
        self.size = size
        self.link = link
        self.entry = entry


class Elf:
    """One ELF file; `read(offset, size)` gives what is there of it."""

    def __init__(self, read: Callable[[int, int], bytes]) -> None:
        """Read the header.

        Raises:
            ElfError: it is none of 64 bits, little-endian.
            OSError: the file cannot be read.
        """
        self._read = read
        head = read(0, _HEADER.size)
        if len(head) < _HEADER.size or head[:4] != b"\x7fELF":
            raise ElfError("no ELF file")
        if head[4] != _ELFCLASS64 or head[5] != _ELFDATA2LSB:
            raise ElfError("not of 64 bits, little-endian")
        fields = _HEADER.unpack(head)
        self.kind, self.machine = fields[1], fields[2]
        self._segments_at, self._sections_at = fields[5], fields[6]
        self._segment_size, self._segment_count = fields[9], fields[10]
        self._section_size, self._section_count, self._names_index = fields[11:14]

    def read(self, offset: int, size: int) -> bytes:
        """Return a part of the file, cut where the file or what is read of one ends."""
        if offset >> 62 or size <= 0:
            return b""
        return self._read(offset, min(size, MAX_PART))

    @cached_property
    def segments(self) -> list[Segment]:
        """The program headers, in the file's order."""
        if self._segment_size != _SEGMENT.size:
            return []
        count = min(self._segment_count, MAX_SEGMENTS)
        text = self.read(self._segments_at, count * _SEGMENT.size)
        whole = len(text) // _SEGMENT.size * _SEGMENT.size
        return [
            Segment(kind, flags, offset, vaddr, size)
            for kind, flags, offset, vaddr, _, size, _, _ in _SEGMENT.iter_unpack(text[:whole])
        ]

    @cached_property
    def sections(self) -> dict[bytes, Section]:
        """The sections by name; of equal names the first."""
        if self._section_size != _SECTION.size:
            return {}
        count = min(self._section_count, MAX_SECTIONS)
        text = self.read(self._sections_at, count * _SECTION.size)
        whole = len(text) // _SECTION.size * _SECTION.size
        headers = list(_SECTION.iter_unpack(text[:whole]))
        if self._names_index >= len(headers):
            return {}
        names = self.read(
            headers[self._names_index][4], min(headers[self._names_index][5], MAX_NAMES)
        )
        found: dict[bytes, Section] = {}
        self.by_index: list[Section] = []
        for name, kind, flags, vaddr, offset, size, link, _, _, entry in headers:
            section = Section(kind, flags, vaddr, offset, size, link, entry)
            self.by_index.append(section)
            end = names.find(b"\0", name, name + 64)
            if end >= 0:
                found.setdefault(names[name:end], section)
        return found

    def section(self, name: bytes) -> bytes:
        """Return what a section holds; empty where there is none, or it is compressed."""
        section = self.sections.get(name)
        return self.content(section) if section else b""

    def content(self, section: Section) -> bytes:
        """Return what a section holds."""
        if section.kind == SHT_NOBITS or section.flags & SHF_COMPRESSED:
            return b""
        return self.read(section.offset, section.size)

    @cached_property
    def build_id(self) -> str:
        """The GNU build id in hexadecimal; empty where there is none."""
        for segment in self.segments:
            if segment.kind != PT_NOTE:
                continue
            notes = self.read(segment.offset, min(segment.size, MAX_NOTES))
            at = 0
            while at + _NOTE.size <= len(notes):
                name_size, size, kind = _NOTE.unpack_from(notes, at)
                name_at = at + _NOTE.size
                text_at = name_at + (name_size + 3 & ~3)
                if kind == NT_GNU_BUILD_ID and notes[name_at : name_at + 4] == b"GNU\0":
                    return notes[text_at : text_at + min(size, MAX_BUILD_ID)].hex()
                at = text_at + (size + 3 & ~3)
        return ""

    @cached_property
    def base(self) -> int:
        """The lowest address that is mapped, of a whole page: where rows begin to count."""
        lowest = min((each.vaddr for each in self.segments if each.kind == PT_LOAD), default=0)
        return lowest & ~0xFFF

    def bias(self, start: int, offset: int) -> int | None:
        """Return what to take from an address to have that of the file.

        Args:
            start: where a mapping begins.
            offset: of the file, where it begins.
        """
        for segment in self.segments:
            if (
                segment.kind == PT_LOAD
                and segment.flags & PF_X
                and (segment.offset & ~0xFFF) <= offset < segment.offset + segment.size
            ):
                return start - (offset - segment.offset + segment.vaddr)
        return None


def file_reader(descriptor: int) -> Callable[[int, int], bytes]:
    """Return what reads parts of an open file; it never goes further than it is long."""
    length = os.fstat(descriptor).st_size

    def read(offset: int, size: int) -> bytes:
        size = min(size, length - offset)
        if size <= 0:
            return b""
        parts = []
        while size > 0:
            part = os.pread(descriptor, size, offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    return read


def memory_reader(text: bytes) -> Callable[[int, int], bytes]:
    """Return what reads parts of a file that is held in memory."""
    return lambda offset, size: text[offset : offset + max(size, 0)]
