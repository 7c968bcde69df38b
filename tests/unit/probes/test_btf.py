"""Offsets out of BTF: a table built here, and any damage to it."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.probes import btf
from rover.probes.btf import Btf, BtfError

INT, POINTER, ARRAY, STRUCT, UNION, TYPEDEF = 1, 2, 3, 4, 5, 8


class Writer:
    """Writes BTF as Documentation/bpf/btf.rst has it."""

    def __init__(self) -> None:
        self.strings = b"\0"
        self.types = b""

    def name(self, text: str) -> int:
        if not text:
            return 0
        at = len(self.strings)
        self.strings += text.encode() + b"\0"
        return at

    def type(
        self, kind: int, name: str, size: int = 0, *, more: bytes = b"", elements: int = 0
    ) -> None:
        self.types += struct.pack("=III", self.name(name), kind << 24 | elements, size) + more

    def structure(
        self, name: str, *fields: tuple[str, int, int], kind: int = STRUCT, bits: bool = False
    ) -> None:
        members = b"".join(struct.pack("=III", self.name(f), t, place) for f, t, place in fields)
        self.type(kind | (0x80 if bits else 0), name, 64, more=members, elements=len(fields))

    def text(self) -> bytes:
        tables = (0, len(self.types), len(self.types), len(self.strings))
        return btf.HEADER.pack(btf.MAGIC, 1, 0, 24, *tables) + self.types + self.strings


def kernel() -> bytes:
    writer = Writer()
    writer.type(INT, "int", 4, more=bytes(4))  # 1
    writer.type(ARRAY, "", more=bytes(12))  # 2
    writer.structure("", ("inner", 1, 32), ("nested", 1, 64), kind=UNION)  # 3
    writer.structure("list_head", ("next", 1, 0), ("prev", 1, 64))  # 4
    writer.structure("task_struct", ("pid", 1, 9920), ("", 3, 800), ("tgid", 1, 9952))  # 5
    writer.structure("flags", ("on", 1, 1 << 24), ("whole", 1, 64), bits=True)  # 6
    writer.type(TYPEDEF, "task_struct", 5)  # 7
    return writer.text()


def test_a_field_is_found_by_its_name():
    assert Btf(kernel()).offset("task_struct", "tgid") == 1244
    assert Btf(kernel()).offset("flags", "whole") == 8


def test_a_field_of_a_nameless_part_is_a_field_of_the_structure():
    assert Btf(kernel()).offset("task_struct", "nested") == 108


@pytest.mark.parametrize(
    ("structure", "field", "told"),
    [
        ("nothing", "pid", "there is no struct nothing"),
        ("task_struct", "live", "struct task_struct has no field live"),
        ("flags", "on", "on is a bit field"),
    ],
)
def test_what_is_not_there_is_told(structure: str, field: str, told: str):
    with pytest.raises(BtfError, match=told):
        Btf(kernel()).offset(structure, field)


@pytest.mark.parametrize("text", [b"", bytes(100), b"\xeb\x9f" + bytes(100)])
def test_other_text_is_no_btf(text: bytes):
    with pytest.raises(BtfError):
        Btf(text)


def test_a_structure_that_holds_itself_without_a_name_ends_the_search():
    writer = Writer()
    writer.structure("task_struct", ("", 1, 0), ("", 1, 0))
    with pytest.raises(BtfError, match="has no field pid"):
        Btf(writer.text()).offset("task_struct", "pid")


def asked(text: bytes) -> None:
    """Ask for anything; a text that is damaged may be refused, and nothing else."""
    for place in (("task_struct", "nested"), ("flags", "whole"), ("nothing", "pid")):
        try:
            assert Btf(text).offset(*place) >= 0
        except BtfError:
            continue


@given(st.integers(0, len(kernel())))
def test_a_text_that_ends_early_is_refused_or_read(length: int):
    asked(kernel()[:length])


@given(st.integers(0, len(kernel()) - 1), st.integers(0, 255))
def test_a_text_with_a_wrong_byte_is_refused_or_read(at: int, byte: int):
    text = bytearray(kernel())
    text[at] = byte
    asked(bytes(text))


@given(st.binary(max_size=400))
def test_any_tables_are_refused_or_read(tables: bytes):
    half = len(tables) // 2
    header = btf.HEADER.pack(btf.MAGIC, 1, 0, 24, 0, half, half, len(tables) - half)
    asked(header + tables)


def test_a_kernel_without_btf_is_told(tmp_path: Path):
    with pytest.raises(BtfError, match="No such file"):
        btf.read(tmp_path / "vmlinux")


@pytest.mark.skipif(not btf.VMLINUX.exists(), reason="this kernel has no BTF")
def test_the_running_kernels_fields_are_within_its_structures():
    kernel = btf.read()
    assert 0 < kernel.offset("signal_struct", "live") < 64
    assert kernel.offset("task_struct", "tgid") == kernel.offset("task_struct", "pid") + 4
