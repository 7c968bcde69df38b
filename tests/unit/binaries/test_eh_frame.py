"""Rows from .eh_frame, and what is made of one that means harm."""

from __future__ import annotations

import os
import struct
import subprocess
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rover.binaries.call_frames import (
    AT_BITS,
    AT_RBP,
    AT_RSP,
    END,
    FRAME,
    LOST,
    MONT,
    PLT,
    RBP,
    REGISTER,
    REGISTER_BITS,
    RETURN,
    RSP,
    SPECIAL,
)
from rover.binaries.eh_frame import rows_of
from rover.binaries.elf import Elf, file_reader

PYTHON = "/usr/bin/python3"


def cie(instructions: bytes, augmentation: bytes = b"zR\0", returns: int = 16) -> bytes:
    body = b"\0\0\0\0\x01" + augmentation + b"\x01\x78" + bytes([returns]) + b"\x01\x03"
    return entry(body + instructions)


def entry(body: bytes) -> bytes:
    body += b"\0" * (-len(body) % 4)
    return struct.pack("<I", len(body)) + body


def function(at: int, start: int, size: int, instructions: bytes) -> bytes:
    """One with absolute addresses of 4 bytes, whose CIE is the first of the section."""
    return entry(struct.pack("<III", at + 4, start, size) + b"\0" + instructions)


PLAIN = cie(b"\x0c\x07\x08\x90\x01")  # def_cfa rsp+8; return address at CFA-8


WHAT = 0xFFFFFFFF
"""Of a row all but its pc."""


def split(row: int) -> tuple[int, int, int, int]:
    """Take a row apart: pc, rule, offset, words from the CFA to rbp."""
    low = row & 0xFFFFFFFF
    offset, saved = low >> 3 & 0x1FFFFF, low >> 24
    return (
        row >> 32,
        low & 7,
        (offset - (1 << 21) if offset >> 20 else offset) * 8,
        saved - 256 if saved > 127 else saved,
    )


def test_a_function_that_pushes_rbp_has_a_row_for_each_step():
    # push %rbp (1 byte); mov %rsp,%rbp (3 bytes)
    steps = b"\x41\x0e\x10\x86\x02\x43\x0d\x06"
    rows = rows_of(PLAIN + function(len(PLAIN), 0x1000, 0x20, steps), 0, 0)
    assert [split(row) for row in rows] == [
        (0x1000, RSP, 8, 0),
        (0x1001, RSP, 16, -2),
        (0x1004, RBP, 16, -2),
        (0x1020, FRAME, 0, 0),
    ]


def test_what_was_remembered_is_restored():
    steps = b"\x41\x0e\x10\x0a\x41\x0e\x18\x0b"
    rows = rows_of(PLAIN + function(len(PLAIN), 0x1000, 0x20, steps), 0, 0)
    assert [split(row)[:3] for row in rows] == [
        (0x1000, RSP, 8),
        (0x1001, RSP, 16),
        (0x1020, FRAME, 0),
    ]


def test_an_undefined_return_address_ends_the_stack():
    rows = rows_of(PLAIN + function(len(PLAIN), 0x1000, 0x20, b"\x07\x10"), 0, 0)
    assert rows[0] & WHAT == END


def test_an_expression_that_is_not_known_loses_the_stack():
    rows = rows_of(PLAIN + function(len(PLAIN), 0x1000, 0x20, b"\x0f\x02\x7a\x08"), 0, 0)
    assert rows[0] & WHAT == LOST


def by_expression(expression: bytes) -> tuple[int, int, int, int]:
    """Return the row of a function whose CFA is said so."""
    steps = b"\x0f" + bytes([len(expression)]) + expression
    rows = rows_of(PLAIN + function(len(PLAIN), 0x1000, 0x20, steps), 0, 0)
    return split(rows[0])


def test_the_expression_of_plt_entries_is_known():
    expression = b"\x77\x08\x80\x00\x3f\x1a\x3b\x2a\x33\x24\x22"
    assert by_expression(expression) == (0x1000, SPECIAL, (PLT + 11) * 8, 0)


@pytest.mark.parametrize(
    ("expression", "rule", "offset", "words"),
    [
        (b"\x76\x78\x06", AT_RBP, -8, 0),
        (b"\x77\x08\x06\x23\x08", AT_RSP, 8, 1),
        (b"\x77\x10\x06\x23\xc0\x00", AT_RSP, 16, 8),
        (b"\x76\xf8\x00\x06\x23\x08", AT_RBP, 120, 1),
    ],
)
def test_a_caller_that_lies_behind_a_pointer_on_the_stack_is_found(
    expression: bytes, rule: int, offset: int, words: int
):
    found = by_expression(expression)[1:3]
    assert found == (rule, ((offset // 8 << AT_BITS) | words) * 8)


@pytest.mark.parametrize(
    "expression",
    [
        b"",
        b"\x77",
        b"\x77\x08",
        b"\x77\x08\x06\x06",
        b"\x77\x08\x06\x23\x84\x00",
        b"\x77\x08\x06\x23\x80\x10",
        b"\x77\x08\x06\x23\x08\x06",
    ],
)
def test_other_pointers_on_the_stack_lose_it(expression: bytes):
    assert by_expression(expression)[1:3] == (SPECIAL, LOST & ~7)


def test_the_expression_of_openssls_multiplication_is_known():
    expression = b"\x77\x08\x79\x00\x38\x1e\x22\x06\x23\x08"
    assert by_expression(expression)[1:3] == (SPECIAL, MONT & ~7)


def test_a_caller_may_be_counted_from_any_register_and_the_offset_stays():
    # push; mov %rsp,%r11; sub; mov %r11,%rsp
    steps = b"\x41\x0e\x10\x41\x0d\x0b\x42\x0d\x07"
    rows = rows_of(PLAIN + function(len(PLAIN), 0x1000, 0x20, steps), 0, 0)
    r11_in_pt_regs = 6
    assert [split(row)[:3] for row in rows] == [
        (0x1000, RSP, 8),
        (0x1001, RSP, 16),
        (0x1002, REGISTER, (2 << REGISTER_BITS | r11_in_pt_regs) * 8),
        (0x1004, RSP, 16),
        (0x1020, FRAME, 0),
    ]


def test_a_caller_that_is_kept_in_a_register_is_found_where_it_is_not_on_the_stack():
    # as vfork does: it pops its caller, asks the kernel, and pushes it again
    steps = b"\x41\x0e\x00\x09\x10\x05\x48\x0e\x08"
    rows = rows_of(PLAIN + function(len(PLAIN), 0x1000, 0x20, steps), 0, 0)
    rdi_in_pt_regs = 14
    assert [split(row)[:3] for row in rows] == [
        (0x1000, RSP, 8),
        (0x1001, SPECIAL, (RETURN + rdi_in_pt_regs) * 8),
        (0x1009, RSP, 8),
        (0x1020, FRAME, 0),
    ]


def test_a_hole_between_functions_is_walked_by_the_frame_pointer():
    first = function(len(PLAIN), 0x1000, 0x10, b"")
    second = function(len(PLAIN) + len(first), 0x2000, 0x10, b"")
    rows = rows_of(PLAIN + first + second, 0, 0)
    assert [split(row)[:2] for row in rows] == [
        (0x1000, RSP),
        (0x1010, FRAME),
        (0x2000, RSP),
        (0x2010, FRAME),
    ]


def test_a_function_that_is_described_twice_counts_once():
    first = function(len(PLAIN), 0x1000, 0x10, b"")
    rows = rows_of(PLAIN + first + function(len(PLAIN) + len(first), 0x1008, 0x10, b""), 0, 0)
    assert [row >> 32 for row in rows] == [0x1000, 0x1010]


def test_rows_of_a_real_program_are_those_of_readelf():
    descriptor = os.open(PYTHON, os.O_RDONLY)
    try:
        elf = Elf(file_reader(descriptor))
        section = elf.sections[b".eh_frame"]
        rows = rows_of(elf.content(section), section.vaddr, elf.base)
    finally:
        os.close(descriptor)
    assert list(rows) == sorted(rows)
    by_pc = {(row >> 32) + elf.base: split(row) for row in rows}
    said = subprocess.run(
        ["readelf", "--debug-dump=frames-interp", PYTHON],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    compared = 0
    for line in said.splitlines():
        fields = line.split()
        if len(fields) < 3 or len(fields[0]) != 16 or not fields[1].startswith(("rsp+", "rbp+")):
            continue
        found = by_pc.get(int(fields[0], 16))
        if found is None:
            continue  # the same rule as the row before
        register, _, offset = fields[1].partition("+")
        assert found[1:3] == (RSP if register == "rsp" else RBP, int(offset)), line
        compared += 1
    assert compared > 10_000


@given(st.binary(max_size=600))
def test_any_bytes_make_sorted_rows(text: bytes):
    rows = rows_of(text, 0x1000, 0)
    assert list(rows) == sorted(rows)


@given(st.binary(max_size=64), st.integers(0, 2**32), st.integers(0, 2**32))
def test_any_instructions_end(steps: bytes, start: int, size: int):
    text = PLAIN + function(len(PLAIN), start % 2**31, size % 2**31, steps)
    assert len(rows_of(text, 0, 0)) <= len(steps) + 2


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_real_section_with_changed_bytes_makes_rows(data: st.DataObject):
    descriptor = os.open("/bin/true", os.O_RDONLY)
    try:
        elf = Elf(file_reader(descriptor))
        text = bytearray(elf.section(b".eh_frame"))
    finally:
        os.close(descriptor)
    for _ in range(data.draw(st.integers(1, 20))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    rows_of(bytes(text), 0x1000, 0)


def test_a_section_of_many_megabytes_ends_in_seconds():
    one = function(len(PLAIN), 0x1000, 4, b"\x0a" * 40 + b"\x41" * 20)
    text = PLAIN + one * 100_000  # all but the first have a CIE that is none
    began = time.monotonic()
    rows_of(text, 0, 0)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("width", [4, 8])
def test_a_length_beyond_the_end_ends_the_section(width: int):
    head = b"\xff\xff\xff\x7f" if width == 4 else b"\xff\xff\xff\xff" + b"\xff" * 8
    assert list(rows_of(PLAIN + head, 0, 0)) == []
