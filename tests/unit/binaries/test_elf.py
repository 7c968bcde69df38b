"""ELF headers, as toolchains write them and as nobody should."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rover.binaries import go_rows
from rover.binaries.elf import Elf, ElfError, file_reader, memory_reader
from rover.binaries.symbols import GoTable, go_table_of, tables_of

HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
SECTION = struct.Struct("<IIQQQQIIQQ")
IDENT = b"\x7fELF\x02\x01\x01" + b"\0" * 9


def walk(elf: Elf) -> None:
    """Ask for all that is ever asked of a file."""
    assert elf.base >= 0
    elf.bias(0x7F0000000000, 0)
    assert isinstance(elf.build_id, str)
    for name in list(elf.sections)[:8]:
        elf.section(name)
    for table in tables_of(elf):
        for address in (0, 1, 0x1000, 2**40, 2**63):
            table.name(address)
    go_table_of(elf)


def true_program() -> bytes:
    return Path("/bin/true").read_bytes()


def test_a_real_program_has_its_parts():
    elf = Elf(memory_reader(true_program()))
    assert b".text" in elf.sections
    assert len(elf.build_id) == 40
    assert elf.bias(0x555555556000, 0x2000) == 0x555555554000


def test_an_open_file_reads_as_its_text():
    descriptor = os.open("/bin/true", os.O_RDONLY)
    try:
        read = file_reader(descriptor)
        assert read(0, 4) == b"\x7fELF"
        assert read(2**40, 4) == b""
        assert read(len(true_program()) - 2, 100) == true_program()[-2:]
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    "text", [b"", b"\x7fELF", b"#!/bin/sh\n" * 20, b"\x7fELF\x01\x01" + b"\0" * 100]
)
def test_what_is_no_elf_file_of_64_bits_is_refused(text: bytes):
    with pytest.raises(ElfError):
        Elf(memory_reader(text))


@given(st.integers(0, 4_000))
def test_a_file_cut_anywhere_is_read_as_far_as_it_goes(size: int):
    text = true_program()[:size]
    try:
        elf = Elf(memory_reader(text))
    except ElfError:
        return
    walk(elf)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 63), st.integers(0, 255)), max_size=12))
def test_headers_that_lie_are_bounded(changes: list[tuple[int, int]]):
    text = bytearray(true_program())
    table = int.from_bytes(text[40:48], "little")
    for at, value in changes:
        text[16 + at % 48] = value
        place = table + at * 31
        if place < len(text):
            text[place] = value
    try:
        elf = Elf(memory_reader(bytes(text)))
    except ElfError:
        return
    walk(elf)


def lying(section: tuple[int, ...], entries: int = 3) -> Elf:
    """A file whose sections are one of names, one as given, and so on."""
    names = b"\0.names\0.symtab\0.gopclntab\0"
    head = HEADER.pack(IDENT, 2, 62, 1, 0, 0, 64, 0, 64, 56, 0, 64, entries, 1)
    table = SECTION.pack(*[0] * 10)
    table += SECTION.pack(1, 3, 0, 0, 64 + 3 * 64, len(names), 0, 0, 1, 0)
    table += SECTION.pack(*section)
    return Elf(memory_reader(head + table + names))


def test_a_symbol_table_that_says_it_has_four_gigabytes_takes_what_is_there():
    began = time.monotonic()
    elf = lying((8, 2, 0, 0, 0, 2**32, 1, 0, 8, 24))
    walk(elf)
    assert time.monotonic() - began < 2


def test_a_symbol_table_whose_names_are_itself_is_bounded():
    walk(lying((8, 2, 0, 0, 64, 10_000, 2, 0, 8, 24)))


def test_sections_beyond_all_counts_are_left_out():
    walk(lying((8, 2, 0, 0, 0, 100, 65_535, 0, 8, 24), entries=65_535))


@given(st.binary(min_size=0, max_size=400))
def test_any_table_of_go_is_bounded(text: bytes):
    head = struct.pack("<IHBB", 0xFFFFFFF1, 0, 1, 8)

    class Whole:
        sections: ClassVar[dict[bytes, object]] = {}

        @staticmethod
        def read(offset: int, size: int) -> bytes:
            return (head + text)[offset : offset + max(size, 0)] if offset < 2**62 else b""

    class Section:
        offset = 0
        size = len(head + text)

    class Named(Whole):
        sections: ClassVar[dict[bytes, object]] = {b".gopclntab": Section}

        @staticmethod
        def content(_: object) -> bytes:
            return head + text

    rows = go_rows.rows_of(Named(), 0)  # type: ignore[arg-type]
    assert list(rows) == sorted(rows)

    try:
        table = GoTable(Whole(), Section())  # type: ignore[arg-type]
    except ValueError:
        return
    for address in (0, 1, 1_000, 2**40):
        table.name(address)
