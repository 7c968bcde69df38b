"""Rows from the code itself, and what is made of code that is none."""

from __future__ import annotations

import os
import re
import struct
import subprocess
from array import array
from bisect import bisect_right
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rover.binaries import code_rows, eh_frame, instructions, symbols
from rover.binaries.call_frames import END, FRAME, LOST, RBP, RSP
from rover.binaries.elf import Elf, file_reader, memory_reader

BASE = 0x400000
AT = 0x1000
SEGMENT = struct.pack("<IIQQQQQQ", 1, 5, 0, BASE, BASE, 0x4000, 0x4000, 0x1000)


def elf_of(code: bytes) -> Elf:
    """Make a file with one section of code, 0x1000 above where it begins."""
    names = b"\0.text\0.names\0"
    names_at = AT + len(code)
    sections_at = names_at + len(names)
    sections = [
        bytes(64),
        struct.pack("<IIQQQQIIQQ", 1, 1, 6, BASE + AT, AT, len(code), 0, 0, 16, 0),
        struct.pack("<IIQQQQIIQQ", 7, 3, 0, 0, names_at, len(names), 0, 0, 1, 0),
    ]
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01" + bytes(9),
        *(2, 62, 1, BASE + AT, 64, sections_at, 0, 64, 56, 1, 64, len(sections), 2),
    )
    head = (header + SEGMENT).ljust(AT, b"\0")
    return Elf(memory_reader(head + code + names + b"".join(sections)))


def rows(code: bytes, *starts: int, known: array[int] | None = None) -> list[tuple[int, int]]:
    """Give place in the code, and the row without its pc; the rows end with the code."""
    at = [BASE + AT + each for each in starts]
    found = code_rows.filled(
        known or array("Q"),
        elf_of(code),
        lambda first, stop: [each for each in at if first <= each < stop],
    )
    assert list(found) == sorted(found)
    return [((row >> 32) - AT, row & 0xFFFFFFFF) for row in found]


def rsp(depth: int, saved: int = 0) -> int:
    return RSP | depth // 8 << 3 | (saved & 0xFF) << 24


def rbp(depth: int, saved: int) -> int:
    return RBP | depth // 8 << 3 | (saved & 0xFF) << 24


NOTHING = b"\x90" * 16


def test_what_is_pushed_and_popped_moves_the_caller():
    # push %r12; push %rbp; sub $24,%rsp; nop; add $24,%rsp; pop %rbp; pop %r12; ret
    code = bytes.fromhex("4154 55 4883ec18 90 4883c418 5d 415c c3") + NOTHING
    assert rows(code) == [
        (0, rsp(8)),
        (2, rsp(16)),
        (3, rsp(24, -3)),
        (7, rsp(48, -3)),
        (12, rsp(24, -3)),
        (13, rsp(16)),
        (15, rsp(8)),
        (len(code), FRAME),
    ]


def test_a_frame_pointer_is_gone_by_where_there_is_one():
    # push %rbp; mov %rsp,%rbp; sub %rax,%rsp; leave; ret
    code = bytes.fromhex("55 4889e5 4829c4 c9 c3") + NOTHING
    assert rows(code) == [
        (0, rsp(8)),
        (1, rsp(16, -2)),
        (4, rbp(16, -2)),
        (8, rsp(8)),
        (len(code), FRAME),
    ]


def test_a_function_that_takes_its_caller_off_the_stack_is_known_again_with_its_frame_pointer():
    # pop %rax; push %rbx; push %rax; push %rbp; mov %rsp,%rbp
    code = bytes.fromhex("58 53 50 55 4889e5") + NOTHING
    assert rows(code) == [(0, rsp(8)), (1, FRAME), (7, rbp(16, -2)), (len(code), FRAME)]


def test_a_stack_that_is_moved_by_what_is_not_known_is_walked_by_the_frame_pointer():
    # and $-16,%rsp; nop
    assert rows(bytes.fromhex("4883e4f0") + NOTHING) == [(0, rsp(8)), (4, FRAME)]


def test_behind_a_return_holds_what_held_where_somebody_came_from():
    # push %rbx; test %edi,%edi; jne 1f; pop %rbx; ret; 1: nop; pop %rbx; ret
    code = bytes.fromhex("53 85ff 7502 5b c3 90 5b c3") + NOTHING
    assert rows(code) == [
        (0, rsp(8)),
        (1, rsp(16)),
        (6, rsp(8)),
        (7, rsp(16)),
        (9, rsp(8)),
        (len(code), FRAME),
    ]


def test_behind_a_return_that_nobody_passes_another_function_begins():
    # sub $8,%rsp; ud2; (nops) push %rbx; nop
    first = bytes.fromhex("4883ec08 0f0b")
    code = first + bytes.fromhex("90 53 90") + NOTHING
    assert rows(code)[2:4] == [(len(first), rsp(8)), (len(first) + 2, rsp(16))]


def test_functions_begin_where_symbols_and_calls_say(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(code_rows, "FEW", 0)
    # push %rbx; call 2f; push %rbx; 2: nop
    code = bytes.fromhex("53 e801000000 53 90") + NOTHING
    assert (7, rsp(8)) in rows(code)
    assert (6, rsp(8)) in rows(code, 6)


def test_in_a_file_without_names_functions_begin_where_described_code_calls(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(code_rows, "FEW", 0)
    # call 3f; (nops) 2: push %rbx; jmp 2; 3: nop
    code = bytes.fromhex("e80e000000") + b"\x90" * 11 + bytes.fromhex("53 ebfd 90") + NOTHING
    told = array("Q", [AT << 32 | rsp(8), AT + 16 << 32 | FRAME])
    assert rows(code, known=told) == [(0, rsp(8)), (17, rsp(16)), (19, rsp(8)), (len(code), FRAME)]


def test_where_a_thread_begins_there_is_no_caller():
    # xor %ebp,%ebp; mov %rsp,%rdi; and $-16,%rsp; call; hlt
    code = bytes.fromhex("31ed 4889e7 4883e4f0 e800000000 f4") + NOTHING
    assert rows(code)[:2] == [(0, rsp(8)), (2, END)]


def test_a_function_that_clears_rbp_on_its_way_has_its_caller():
    # push %rbp; xor %ebp,%ebp; nop
    code = bytes.fromhex("55 31ed 90") + NOTHING
    assert rows(code) == [(0, rsp(8)), (1, rsp(16, -2)), (len(code), FRAME)]


def test_what_is_described_stays_as_it_is():
    told = array("Q", [AT << 32 | LOST, AT + 16 << 32 | FRAME])
    code = b"\x53" * 16 + b"\x53" + NOTHING
    assert rows(code, known=told) == [
        (0, LOST),
        (16, rsp(8)),
        (17, rsp(16)),
        (len(code), FRAME),
    ]


def test_a_description_that_ends_before_a_system_call_holds_behind_it():
    # syscall; test %rax,%rax; je 1f; ret; 1:
    code = bytes.fromhex("4883ec08 0f05 4885c0 7401 c3") + b"\x90" * 20
    told = array("Q", [AT << 32 | rsp(16), AT + 4 << 32 | FRAME, AT + 12 << 32 | END])
    assert rows(code, known=told) == [(0, rsp(16)), (12, END)]


def test_more_code_than_is_read_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(code_rows, "MAX_CODE", 16)
    assert rows(b"\x53" + NOTHING) == []


def library() -> Path:
    return next(Path("/").glob("lib/x86_64-linux-gnu/libc.so.6"))


def test_instructions_are_those_of_objdump():
    descriptor = os.open(library(), os.O_RDONLY)
    elf = Elf(file_reader(descriptor))
    section = elf.sections[b".text"]
    text = elf.content(section)
    os.close(descriptor)
    names = {
        "call": instructions.CALL,
        "push": instructions.PUSH,
        "pop": instructions.POP,
        "ret": instructions.STOP,
        "leave": instructions.LEAVE,
    }
    mine = {
        at + section.vaddr: what for at, _, what, _ in instructions.moves_of(text, 0, len(text))
    }
    command = ["objdump", "-d", "-w", "--no-show-raw-insn", "-j", ".text", library()]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    compared = 0
    for line in said.splitlines():
        found = re.match(r"\s+([0-9a-f]+):\s+(?:rep |bnd |notrack )*(\w+)\s*(\S*)", line)
        if not found or found[2] not in names or found[3].startswith("*"):
            continue
        assert mine.get(int(found[1], 16)) == names[found[2]], line
        compared += 1
    assert compared > 10_000


def test_rows_of_code_agree_with_what_its_compiler_said_of_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(code_rows, "MAX_CODE", 1 << 22)  # it is a large library
    descriptor = os.open(library(), os.O_RDONLY)
    elf = Elf(file_reader(descriptor))
    section = elf.sections[b".eh_frame"]
    told = eh_frame.rows_of(elf.content(section), section.vaddr, elf.base)
    tables = symbols.tables_of(elf)
    found = code_rows.filled(
        array("Q"),
        elf,
        lambda first, stop: [at for each in tables for at in each.between(first, stop)],
    )
    os.close(descriptor)
    agree: Counter[bool] = Counter()
    for at, row in enumerate(told[:-1]):
        if row & 7 not in {RSP, RBP}:
            continue
        mine = found[bisect_right(found, row >> 32 << 32 | 0xFFFFFFFF) - 1]
        size = (told[at + 1] >> 32) - (row >> 32)
        agree[mine & 0xFFFFFF == row & 0xFFFFFF] += size
    assert agree[True] >= 0.95 * agree.total()


@given(st.binary(min_size=16, max_size=600))
@settings(max_examples=300)
def test_any_bytes_make_sorted_rows_within_the_code(code: bytes):
    found = rows(code)
    assert all(0 <= at <= len(code) for at, _ in found)


@given(st.binary(max_size=300))
def test_each_instruction_goes_forward(code: bytes):
    last = 0
    for at, after, _, _ in instructions.moves_of(code, 0, len(code)):
        assert last <= at < after <= len(code)
        last = after
