"""Names of functions: symbol tables, perf maps, kallsyms, demangling."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.binaries import kallsyms, rust_names
from rover.binaries.demangle import MAX_NAME, readable
from rover.binaries.elf import Elf, file_reader
from rover.binaries.images import Image
from rover.binaries.maps import MAX_MAPPINGS, mappings_of
from rover.binaries.perf_map import PerfMap
from rover.binaries.symbols import tables_of


@pytest.mark.parametrize(
    ("mangled", "meant"),
    [
        (b"main", "main"),
        (b"clock_nanosleep@@GLIBC_2.17", "clock_nanosleep"),
        (b"_ZNSt6vectorIiSaIiEE9push_backERKi",
         "std::vector<int, std::allocator<int> >::push_back(int const&)"),
        (b"_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE", "core::fmt::Write::write_fmt"),
        (b"_ZN50_$LT$T$u20$as$u20$core..convert..Into$LT$U$GT$$GT$4into17h0123456789abcdefE",
         "<T as core::convert::Into<U>>::into"),
        (b"_RNvNtCs1234_7mycrate3foo3bar", "mycrate::foo::bar"),
        (b"_RINvNtC3std3mem8align_ofNtNtC3std3mem12DiscriminantE",
         "std::mem::align_of::<std::mem::Discriminant>"),
        (b"_RNCNvC4main4main0B3_", "main::main::{closure#0}"),
        (b"_RNvMs_NtCs4fqI2P2rA04_5alloc3vecINtB4_3VechE4push", "<alloc::vec::Vec<u8>>::push"),
        (b"_Z", "_Z"),
        (b"_R", "_R"),
        (b"a;b\nc\x1b[31m", "a:b:c:[31m"),
    ],
)  # fmt: skip
def test_names_are_as_their_authors_wrote_them(mangled: bytes, meant: str):
    assert readable(mangled) == meant


@given(st.binary(max_size=3_000))
def test_any_name_becomes_one_bounded_line(name: bytes):
    said = readable(name)
    assert len(said) <= MAX_NAME
    assert said.splitlines() in ([], [said]) or "\n" not in said


@given(st.text("BINvCs01_E2ea", max_size=300))
def test_any_name_of_rust_ends(name: str):
    rust_names.readable(b"_R" + name.encode())


def test_back_references_that_grow_without_end_are_left_alone():
    # each tuple says the one before twice
    name = "INvC1a1b" + "".join(f"TB{'0123456789'[at % 10]}_B1_E" for at in range(60)) + "E"
    began = time.monotonic()
    rust_names.readable(b"_R" + name.encode())
    assert time.monotonic() - began < 1


def write(path: Path, text: bytes) -> int:
    path.write_bytes(text)
    return os.open(path, os.O_RDONLY)


def test_a_perf_map_names_what_it_says(tmp_path: Path):
    found = PerfMap(write(tmp_path / "map", b"7f00 10 py::f:/a b.py\n7f20 8 g\nnonsense\n"))
    found.read_on()
    assert [found.name(at) for at in (0x7F00, 0x7F0F, 0x7F10, 0x7F24, 0)] == [
        b"py::f:/a b.py",
        b"py::f:/a b.py",
        None,
        b"g",
        None,
    ]
    found.close()


def test_a_perf_map_is_read_on_as_it_grows_and_says_the_latest(tmp_path: Path):
    found = PerfMap(write(tmp_path / "map", b"10 10 old\n20 1"))
    found.read_on()
    with (tmp_path / "map").open("ab") as file:
        file.write(b"0 second\n10 10 new\n")
    assert found.read_on()
    assert (found.name(0x11), found.name(0x22)) == (b"new", b"second")
    assert not found.read_on()
    found.close()


@given(st.binary(max_size=2_000), st.integers(0, 2**64 - 1))
def test_any_perf_map_is_bounded(tmp_path_factory: pytest.TempPathFactory, text: bytes, at: int):
    found = PerfMap(write(tmp_path_factory.mktemp("maps") / "map", text))
    found.read_on()
    found.name(at)
    found.close()


def test_a_perf_map_of_four_gigabytes_of_nothing_is_left(tmp_path: Path):
    path = tmp_path / "map"
    descriptor = write(path, b"10 10 first\n")
    os.truncate(path, 4 << 30)
    found = PerfMap(descriptor)
    began = time.monotonic()
    for _ in range(30):
        found.read_on()
    assert time.monotonic() - began < 10
    assert found.name(0x11) == b"first"
    found.close()


def test_a_perf_map_of_millions_of_lines_is_taken_by_parts(tmp_path: Path):
    text = b"".join(b"%x 10 function_%d\n" % (at * 16, at) for at in range(700_000))
    found = PerfMap(write(tmp_path / "map", text))
    while found.read_on():
        pass
    assert found.entries == 500_000
    found.close()


def test_the_kernel_is_named_in_one_pass(tmp_path: Path):
    lines = (
        b"ffffffff81000000 T _text\nffffffff81000100 t first\nffffffff81000180 d data\n"
        b"ffffffff81000200 T second\nffffffffc0000000 t in_module\t[module]\n"
    )
    descriptor = write(tmp_path / "kallsyms", lines)
    asked = [0xFFFFFFFF81000100, 0xFFFFFFFF810001FF, 0xFFFFFFFF81000204, 0xFFFFFFFFC0000010, 1]
    assert kallsyms.names_of(descriptor, asked) == dict(
        zip(asked, ["first", "first", "second", "in_module", kallsyms.UNKNOWN], strict=True)
    )
    os.close(descriptor)


def test_a_kernel_that_hides_its_addresses_is_called_kernel(tmp_path: Path):
    descriptor = write(tmp_path / "kallsyms", b"0000000000000000 T vfs_read\n" * 3)
    assert kallsyms.names_of(descriptor, [0xFFFFFFFF81000100]) == {
        0xFFFFFFFF81000100: kallsyms.UNKNOWN
    }
    os.close(descriptor)


def test_a_table_names_what_nm_names():
    path = os.path.realpath("/lib/x86_64-linux-gnu/libc.so.6")
    descriptor = os.open(path, os.O_RDONLY)
    table = tables_of(Elf(file_reader(descriptor)), (b".dynsym",))[0]
    said = subprocess.run(
        ["nm", "-D", "--defined-only", path], capture_output=True, text=True, check=True
    ).stdout
    by_address: dict[int, set[str]] = {}
    for line in said.splitlines():
        address, kind, name = line.split()
        if kind in "TtWi":
            by_address.setdefault(int(address, 16), set()).add(name.partition("@")[0])
    wrong = {
        address: (table.name(address), names)
        for address, names in by_address.items()
        if readable(table.name(address) or b"") not in names
    }
    os.close(descriptor)
    assert len(by_address) > 1_000
    assert not wrong


def test_what_has_no_symbol_is_told_by_file_and_offset(tmp_path: Path):
    source, program = tmp_path / "a.c", tmp_path / "stripped"
    source.write_text("int main(void){return 0;}")
    subprocess.run(["gcc", "-o", program, source], check=True)
    subprocess.run(["strip", program], check=True)
    image = Image(os.open(program, os.O_RDONLY), os.fsencode(program), os.getpid())
    assert image.name(0x1131, lambda _: None) == "stripped+0x1131"
    image.close()


def test_mappings_of_files_are_kept_before_others():
    lines = [b"%x-%x r-xp 00000000 00:00 0 " % (at * 4096, (at + 1) * 4096) for at in range(600)]
    lines.append(b"7f0000000000-7f0000001000 r-xp 00001000 fd:00 12 /usr/lib/a b.so")
    found, left_out = mappings_of(lines)
    assert (len(found), left_out) == (MAX_MAPPINGS, 601 - MAX_MAPPINGS)
    assert found[-1].label == b"/usr/lib/a b.so"
    assert (found[-1].offset, found[-1].inode) == (0x1000, 12)
