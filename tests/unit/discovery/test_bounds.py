"""What is kept of a process's own words: so much, from both ends, and no character in two."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.discovery.bounds import (
    ARGUMENTS_KEPT,
    CGROUP_ROOM,
    CUT,
    GAP,
    PATH_ROOM,
    bounded,
    bounded_cgroup,
    bounded_text,
    joined,
    spared,
)
from rover.k8s.cgroup import containers_of
from rover.naming.systemd import service_unit

TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="…"))
WIDE = "\N{GRINNING FACE}"


@given(st.binary(max_size=300), st.integers(20, 200))
def test_no_more_is_kept_than_the_limit_and_what_fits_stays(text, limit):
    kept = bounded(text, limit)
    assert len(kept) <= limit
    assert (kept == text) == (len(text) <= limit)


@given(TEXT.filter(lambda text: len(text.encode()) > 20), st.integers(20, 60))
def test_a_cut_text_is_both_its_ends_with_one_mark_between_and_no_character_in_two(text, limit):
    whole = text.encode()
    if len(whole) <= limit:
        return
    head, mark, tail = bounded(whole, limit).partition(CUT)
    assert mark
    assert CUT not in tail
    assert text.startswith(head.decode())
    assert text.endswith(tail.decode())
    assert len(head) + len(tail) >= limit - len(CUT) - 1 - 2 * 3


def test_the_class_of_a_java_program_stands_behind_its_class_path():
    path = b":".join(b"/opt/app/lib/library-%d.jar" % number for number in range(400))
    kept = bounded(b"\0".join([b"java", b"-cp", path, b"com.example.Main", b"--port=1"]))
    assert kept.startswith(b"java\0-cp\0/opt/app/lib/library-0.jar:")
    assert kept.endswith(b"\0com.example.Main\0--port=1")
    assert len(kept) <= ARGUMENTS_KEPT


@pytest.mark.parametrize(
    ("tail", "left"),
    [
        (b"word\0hunter2\0--port=1\0\0\0", b"--port=1"),
        (b"x" * 200 + b"\0com.example.Main\0--port=1\0", b"com.example.Main\0--port=1"),
        (b"x" * 500, b""),
        (b"", b""),
    ],
    ids=["the end of an option", "the end of a class path", "nothing but a value", "rewritten"],
)
def test_an_argument_whose_begin_was_not_read_is_not_told(tail, left):
    assert joined(b"app\0--pass", tail) == b"app\0--pass" + GAP + left


@given(st.lists(st.sampled_from([b"a=b", b'"', b" ", b"x" * 20, b"\0"]), max_size=3000))
def test_a_command_line_made_of_signs_is_shortened_before_it_costs_time(pieces):
    arguments = b"".join(pieces)
    kept = spared(arguments)
    signs = sum(map(kept.count, (b"\0", b" ", b"=", b":", b'"', b"'")))
    assert kept == arguments or len(kept) <= 2_100
    assert signs <= 2_100


@given(TEXT, st.integers(200, 2000))
def test_a_path_takes_so_much_memory_whatever_its_characters(text, room):
    for path in (
        text,
        text * 50,
        WIDE + "x" * 3000,
        "é" * 3000,
        "\N{CJK UNIFIED IDEOGRAPH-4E2D}" * 900,
    ):
        assert sys.getsizeof(bounded_text(path, room)) <= max(room, sys.getsizeof(""))


def test_a_long_path_keeps_the_name_of_its_program():
    name = "n" * 255
    for before in ("/" + "d" * 3000, "/" + WIDE * 900):
        assert bounded_text(f"{before}/{name[:140]}").endswith(f"/{name[:140]}")
    assert bounded_text("/" + "d" * 3000 + "/" + name).endswith(f"/{name}")
    assert bounded_text("/usr/bin/app") == "/usr/bin/app"


POD = "/kubepods/burstable/pod12345678-1234-1234-1234-123456789012/" + "c" * 64


def test_a_cgroup_of_many_lines_keeps_what_names_are_read_from():
    lines = [f"{number}:controller{number}:{POD}/{'x' * 200}" for number in range(13, 1, -1)]
    text = "\n".join([*lines, f"1:name=systemd:{POD}/app.service", "0::/system.slice/b.service"])
    kept = bounded_cgroup(text)
    assert sys.getsizeof(kept) <= CGROUP_ROOM
    assert containers_of(kept) == containers_of(text)
    assert service_unit(kept) == service_unit(text) == "app.service"
    assert set(kept.split("\n")) <= set(text.split("\n"))


@given(st.lists(st.tuples(st.sampled_from(["0::", "1:name=systemd:", "4:cpu:"]), TEXT), max_size=9))
def test_a_cgroup_takes_so_much_memory_whatever_its_path(lines):
    text = "\n".join(f"{begin}/{path * 90}" for begin, path in lines)
    assert sys.getsizeof(bounded_cgroup(text)) <= CGROUP_ROOM


def test_an_ordinary_cgroup_stays_as_it_is():
    text = "0::/system.slice/nginx.service"
    assert bounded_cgroup(text) is text
    assert sys.getsizeof(bounded_text("/" + "a" * 5000)) <= PATH_ROOM
