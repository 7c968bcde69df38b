"""TMPDIR in whatever an environment holds."""

# ruff: noqa: S108  the paths are only compared

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.discovery.procfs_text import absolute_tmpdir
from rover.foreign.strings import MAX_ENVIRON, strings_of, tmpdir_of


@pytest.fixture(scope="module")
def environ(tmp_path_factory):
    path = tmp_path_factory.mktemp("environ") / "environ"

    def of(content):
        path.write_bytes(content)
        return tmpdir_of(str(path))

    return of


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", b""),
        (b"HOME=/root\0", b""),
        (b"HOME=/root\0TMPDIR=/var/tmp/\0", b"/var/tmp/"),
        (b"TMPDIR=/first\0TMPDIR=/second\0", b"/first"),
        (b"TMPDIR=\0TMPDIR=/second\0", b""),
        (b"XTMPDIR=/x\0", b""),
        (b"A=\nTMPDIR=/x\0", b""),
        (b"TMPDIR=/", b"/"),
        (b"TMPDIR=/" + b"x" * 5000, b""),
        (b"TMPDIR=/" + b"x" * 5000 + b"\0TMPDIR=/y\0", b""),
        (b"TMPDIR=/a\xff\0", b"/a\xff"),
    ],
)
def test_the_first_tmpdir_of_the_environment_counts(environ, content, found):
    assert environ(content) == found


@pytest.mark.parametrize("before", [0, 65_535, 65_530, 131_072, 400_000, MAX_ENVIRON - 100])
def test_it_is_found_behind_very_many_other_variables(environ, before):
    filler = b"A=" + b"x" * (before - 3) + b"\0" if before > 3 else b""
    assert environ(filler + b"TMPDIR=/there\0B=1\0") == b"/there"


def test_what_lies_beyond_the_bound_is_not_read(environ):
    assert environ(b"A=" + b"x" * MAX_ENVIRON + b"\0TMPDIR=/there\0") == b""


@given(st.lists(st.binary(max_size=50).map(lambda each: each.replace(b"\0", b"")), max_size=9))
def test_it_is_what_getenv_finds(environ, variables):
    content = b"".join(each + b"\0" for each in variables)
    named = [each for each in variables if each.startswith(b"TMPDIR=")]
    assert environ(content) == (named[0].removeprefix(b"TMPDIR=") if named else b"")


def test_a_real_environment_of_more_than_128_kib(spawn):
    many = {f"SERVICE_{number}_HOST": "10.0.0.1" * 8 for number in range(3000)}
    child = spawn("sleep", "60", env={**many, "TMPDIR": "/var/lib/there"})
    found = strings_of("/proc", child.pid, 65_536, with_place=True)
    assert found.tmpdir == b"/var/lib/there"
    assert found.command_line == b"sleep\x0060\x00"
    assert (found.root.inode, found.command_line_errno, found.place_errno) == (
        os.stat("/").st_ino,  # noqa: PTH116
        0,
        0,
    )


@pytest.mark.parametrize(
    ("named", "cwd", "tmpdir"),
    [
        (b"", "/srv", "/tmp"),
        (b"/var/tmp/", "/srv", "/var/tmp"),
        (b"/", "/srv", "/"),
        (b"work", "/srv", "/srv/work"),
        (b"work", "", "/work"),
        (b"work", "(unreachable)/srv", "/tmp"),
        (b"/a\xff", "/srv", "/a\udcff"),
        (b"work", "/" + "x" * 4095, "/tmp"),
        (b"/" + b"x" * 1_900, "/", "/" + "x" * 1_900),
        (b"/" + b"x" * 1_900 + "\N{OK HAND SIGN}".encode(), "/", "/tmp"),
    ],
)
def test_a_tmpdir_becomes_an_absolute_path(named, cwd, tmpdir):
    assert absolute_tmpdir(named, cwd) == tmpdir


@given(st.binary(), st.text())
def test_whatever_it_holds_the_answer_is_an_absolute_path(named, cwd):
    assert absolute_tmpdir(named, cwd).startswith("/")
