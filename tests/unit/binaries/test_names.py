"""Names of functions: symbol tables, perf maps, kallsyms, demangling."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
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


@pytest.mark.parametrize(
    "text", [b"10 10 new\n", b"70 10 one\n10 10 new\n80 10 other\n90 10 more\n"]
)
def test_a_perf_map_that_is_written_anew_is_read_anew(tmp_path: Path, text: bytes):
    found = PerfMap(write(tmp_path / "map", b"10 10 older\n20 10 gone\n"))
    assert found.read_on()
    assert found.name(0x25) == b"gone"
    (tmp_path / "map").write_bytes(text)
    assert found.read_on()
    assert found.name(0x15) == b"new"
    assert found.name(0x25) is None
    assert not found.read_on()


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


KERNEL = (
    b"0000000000000000 A fixed_percpu_data\nffffffff81000000 T _text\n"
    b"ffffffff81000100 t first\nffffffff81000100 t alias\nffffffff81000180 d data\n"
    b"ffffffff81000200 T second\nffffffff81000300 T _etext\n"
    b"ffffffffc0001000 t later_in_module\t[module]\nffffffffc0000000 t in_module\t[module]\n"
    b"ffffffffc0000800 t bpf_prog_6deef7357e7b4530_on_exec\t[bpf]\n"
)
NAMED = {
    0xFFFFFFFF81000100: "first",
    0xFFFFFFFF810001FF: "first",
    0xFFFFFFFF81000204: "second",
    0xFFFFFFFFC0000010: "in_module",
    0xFFFFFFFFC0001001: "later_in_module",
    1: kallsyms.UNKNOWN,
}


@pytest.fixture
def kernel_file(tmp_path: Path) -> Iterator[int]:
    descriptor = write(tmp_path / "kallsyms", KERNEL)
    yield descriptor
    os.close(descriptor)


def test_the_kernels_own_functions_and_its_modules_are_named(kernel_file: int):
    assert kallsyms.Kernel(kernel_file).names(list(NAMED)) == list(NAMED.values())


def test_what_one_pass_has_read_is_named_without_another(kernel_file: int, tmp_path: Path):
    kernel = kallsyms.Kernel(kernel_file)
    kernel.names([0xFFFFFFFF81000100])
    (tmp_path / "kallsyms").write_bytes(b"")
    others = [0xFFFFFFFF81000204, 0xFFFFFFFFC0001001]
    assert kernel.names(others) == ["second", "later_in_module"]


def test_code_that_has_come_since_is_found_by_another_pass(kernel_file: int, tmp_path: Path):
    kernel = kallsyms.Kernel(kernel_file)
    new = 0xFFFFFFFFC0F00010
    kernel.names([0xFFFFFFFF81000100])
    (tmp_path / "kallsyms").write_bytes(KERNEL + b"ffffffffc0f00000 t new\t[newer]\n")
    assert kernel.names([new]) == ["new"]


def test_programs_that_the_kernel_has_made_are_named_by_the_pass_alone(
    kernel_file: int, tmp_path: Path
):
    program = 0xFFFFFFFFC0002010
    (tmp_path / "kallsyms").write_bytes(KERNEL + b"ffffffffc0002000 t bpf_prog_1_a\t[bpf]\n")
    kernel = kallsyms.Kernel(kernel_file)
    assert kernel.names([program]) == ["bpf_prog_1_a"]
    (tmp_path / "kallsyms").write_bytes(KERNEL + b"ffffffffc0002000 t bpf_prog_2_b\t[bpf]\n")
    assert kernel.names([program + 8]) == ["bpf_prog_2_b"]


@given(st.sets(st.integers(0, 0x2FFFF), min_size=1), st.lists(st.integers(0, 0x2FFFF)))
def test_each_address_has_the_name_of_what_begins_closest_before_it(
    starts: set[int], asked: list[int]
):
    base = 0xFFFFFFFF81000000
    packer = kallsyms.Packer()
    for start in sorted(starts):
        assert packer.add(base + start, b"at_%d" % start)
    addresses = sorted({base + offset for offset in asked})
    for address, name in packer.table().names(addresses):
        assert name == f"at_{max(start for start in starts if base + start <= address)}"


def test_a_kernel_that_hides_its_addresses_is_called_kernel_and_asked_once(tmp_path: Path):
    descriptor = write(tmp_path / "kallsyms", b"0000000000000000 T vfs_read\n" * 3)
    kernel = kallsyms.Kernel(descriptor)
    assert kernel.names([0xFFFFFFFF81000100]) == [kallsyms.UNKNOWN]
    (tmp_path / "kallsyms").write_bytes(KERNEL)
    assert kernel.names([0xFFFFFFFF81000101]) == [kallsyms.UNKNOWN]
    os.close(descriptor)


def test_without_the_file_nothing_is_named():
    assert kallsyms.Kernel(-1).names([1, 1]) == [kallsyms.UNKNOWN] * 2


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
