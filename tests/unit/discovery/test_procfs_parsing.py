"""Parsing of /proc: any process may call itself anything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.discovery.procfs_text import executable, parse_stat, parse_status

FIELDS = (
    "S 7 42 42 0 -1 4194560 900 0 0 0 12 3 0 0 20 0 1 0 123456 9000000 800 18446744073709551615 "
    "94000 95000 140000 0 0 0 0 4096 0 1 0 0 17 1 0 0 0 0 0 96000 97000 98000 140100 140200 140300 "
    "140400 0"
)


def stat_line(name: bytes = b"nginx", fields: str = FIELDS) -> bytes:
    return b"42 (" + name + b") " + fields.encode() + b"\n"


def test_fields_are_those_of_the_manual():
    stat = parse_stat(stat_line())
    assert (stat.name, stat.state, stat.ppid) == ("nginx", "S", 7)
    assert (stat.threads, stat.start_ticks) == (1, 123456)
    assert not stat.kernel_thread


@pytest.mark.parametrize("name", [b"a b", b") R 1 (", b"((sd-pam))", b"", b"\xff\xfe", b"\n"])
def test_a_name_with_blanks_brackets_or_bytes_shifts_no_field(name: bytes):
    stat = parse_stat(stat_line(name))
    assert stat.start_ticks == 123456
    assert stat.name == name.decode("utf-8", "replace")


def test_a_kernel_thread_is_told_by_its_flag():
    assert parse_stat(stat_line(fields=FIELDS.replace("4194560", "2129984"))).kernel_thread


def test_a_zombie_has_ended_but_not_while_threads_live():
    alone = FIELDS.replace("S 7", "Z 7")
    assert parse_stat(stat_line(fields=alone)).ended
    assert not parse_stat(stat_line(fields=alone.replace(" 1 0 123456", " 3 0 123456"))).ended


def test_the_image_differs_after_an_exec_but_not_after_a_rename():
    before = parse_stat(stat_line())
    assert parse_stat(stat_line(b"worker")).image == before.image
    assert parse_stat(stat_line(fields=FIELDS.replace("140000", "150000"))).image != before.image


@given(st.binary(max_size=300))
def test_stat_is_read_or_refused_but_never_misread(text: bytes):
    try:
        parse_stat(text)
    except ValueError:
        return


def test_status_gives_the_real_uid_and_the_innermost_pid():
    text = b"Name:\tx\nUid:\t1000\t0\t0\t0\nNSpid:\t4242\t17\t1\n"
    assert parse_status(text) == (1000, 1)
    assert parse_status(b"Name:\tx\n") == (0, 0)


def test_a_title_that_is_moved_elsewhere_is_no_exec():
    moved = FIELDS.replace("140100 140200", "150100 150200")
    assert parse_stat(stat_line(fields=moved)).image == parse_stat(stat_line()).image


@pytest.mark.parametrize(
    ("link", "name", "arguments", "file"),
    [
        ("/bin/x", "x", b"x", "/bin/x"),
        ("/bin/x (deleted)", "x", b"x", "/bin/x"),
        ("/bin/x (deleted)", "other", b"x", "/bin/x"),
        ("/bin/x (deleted)", "x (deleted)", b"./x (deleted)", "/bin/x (deleted)"),
        ("/bin/x (deleted) (deleted)", "x (deleted)", b"x", "/bin/x (deleted)"),
        ("/bin/nine-char (deleted)", "nine-char (dele", b"y", "/bin/nine-char (deleted)"),
        ("/bin/nine-char (deleted)", "nine-char", b"y", "/bin/nine-char"),
        (
            "/bin/fifteen--chars (deleted)",
            "fifteen--chars (",
            b"fifteen--chars",
            "/bin/fifteen--chars",
        ),
        (
            "/bin/a-long-program (deleted)",
            "a-long-program",
            b"a-long-program",
            "/bin/a-long-program",
        ),
        (
            "/bin/a-longer-program (deleted)",
            "a-longer-progra",
            b"./a-longer-program (deleted)\0-x",
            "/bin/a-longer-program (deleted)",
        ),
        ("/bin/a-longer-program (deleted)", "a-longer-progra", b"a b\0c", "/bin/a-longer-program"),
        (" (deleted)", "x", b"", ""),
        ("", "x", b"x", ""),
    ],
)
def test_the_mark_of_a_deleted_file_is_told_from_a_name_that_ends_so(link, name, arguments, file):
    assert executable(link, name, arguments) == file


@given(st.text("/x ()deleted", max_size=40), st.text(max_size=15), st.binary(max_size=40))
def test_an_executable_loses_the_mark_or_nothing(link, name, arguments):
    path = executable(link + " (deleted)", name, arguments)
    assert path in (link, link + " (deleted)")
    assert executable(link + "x", name, arguments) == link + "x"
