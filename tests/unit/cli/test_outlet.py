"""Text that nobody takes is counted, and holds nobody up; claims of `rover.cli.outlet`."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import pty
import select
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest

from rover.cli import file_writer, ways
from rover.cli import outlet as subject
from rover.cli.logs import write_logs
from rover.cli.outlet import Outlet

AT_ONCE = select.PIPE_BUF
ROOM = 2 * AT_ONCE
"""Bytes that the pipe holds."""


def told(lines: int) -> str:
    return f"lost {lines}"


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, ROOM)
    with os.fdopen(writing, "w", encoding="utf-8") as stream:
        yield reading, stream
    with contextlib.suppress(OSError):
        os.close(reading)


def text_of(reading: int) -> str:
    """All that there is to read now."""
    os.set_blocking(reading, False)
    found = b""
    with contextlib.suppress(BlockingIOError):
        while part := os.read(reading, 1 << 20):
            found += part
    return found.decode()


def test_what_is_taken_is_written_whole_and_as_it_is(pipe):
    reading, stream = pipe
    outlet = Outlet(stream, told)
    assert outlet.write("säge\n") == 5
    outlet.write("\udcff\n")
    assert text_of(reading) == "säge\n\\udcff\n"


def test_a_long_text_goes_through_in_parts_while_somebody_reads(pipe):
    reading, stream = pipe
    text = "x" * (5 * ROOM) + "\n"
    writing = threading.Thread(target=Outlet(stream, told).write, args=(text,))
    writing.start()
    found = b""
    while len(found) < len(text):
        found += os.read(reading, 1 << 20)
    writing.join()
    assert found.decode() == text


def test_lines_that_nobody_takes_are_counted_and_told_once_somebody_does(pipe):
    reading, stream = pipe
    outlet = Outlet(stream, told)
    full = "y" * (AT_ONCE - 1) + "\n"
    for _ in range(10):
        outlet.write(full)
    assert text_of(reading) == 2 * full
    outlet.write("again\n")
    outlet.write("and on\n")
    assert text_of(reading) == "lost 8\nagain\nand on\n"


def test_however_many_they_are_they_are_waited_for_a_quarter_of_a_second_in_all(pipe, monkeypatch):
    _, stream = pipe
    now = [1_000.0]
    waits = []

    class Poll:
        def register(self, *_: object) -> None:
            pass

        def poll(self, milliseconds: float) -> list[object]:
            waits.append(milliseconds)
            now[0] += milliseconds / 1000
            return []

    monkeypatch.setattr(ways.select, "poll", Poll)
    monkeypatch.setattr(subject.time, "monotonic", lambda: now[0])
    outlet = Outlet(stream, told)
    for _ in range(1_000):
        outlet.write("y" * AT_ONCE + "\n")
    assert 200 < sum(waits) < 300


def test_a_line_that_was_taken_in_part_is_ended_first(pipe):
    reading, stream = pipe
    outlet = Outlet(stream, told)
    outlet.write("z" * (3 * ROOM) + "\n")
    assert text_of(reading) == "z" * ROOM
    outlet.write("again\n")
    assert text_of(reading) == "\nlost 1\nagain\n"


@pytest.mark.parametrize("way", ["pipe", "socket", "terminal", "another user's pipe"])
def test_nothing_that_takes_no_more_holds_the_writer_up(way, monkeypatch):
    if way == "socket":
        ours, theirs = socket.socketpair()
        reading, writing = ours.detach(), theirs.detach()
    else:
        reading, writing = pty.openpty() if way == "terminal" else os.pipe()
    if way.startswith("another"):
        monkeypatch.setattr(ways.os, "open", refused)
    with os.fdopen(writing, "w", encoding="utf-8") as stream:
        outlet = Outlet(stream, told)
        for _ in range(6_000):  # of which none could be written by whoever waits
            outlet.write("a line that is read by nobody, again and again and again\n")
        assert os.get_blocking(writing), "others that write there go on to wait"
        os.set_blocking(reading, False)
        said = ""
        while "lost" not in said:
            with contextlib.suppress(BlockingIOError):
                said += os.read(reading, 1 << 20).decode()
            outlet.write("again\n")
        outlet.close()
    os.close(reading)


def refused(*_: object) -> int:
    raise PermissionError


def test_while_somebody_draws_lines_are_kept_for_it(pipe, monkeypatch):
    reading, stream = pipe
    monkeypatch.setattr(subject, "MOST_HELD", 2)
    outlet = Outlet(stream, told)
    outlet.hold()
    for text in ("one\n", "two\n", "three\n"):
        outlet.write(text)
    assert outlet.held() == "one\ntwo\n"
    outlet.write("four\n")
    assert text_of(reading) == ""
    outlet.release()
    outlet.write("five\n")
    assert text_of(reading) == "lost 1\nfour\nfive\n"


def test_a_reader_that_is_gone_is_an_error_as_of_any_stream(pipe):
    reading, stream = pipe
    os.close(reading)
    with pytest.raises(BrokenPipeError):
        Outlet(stream, told).write("x\n")


@pytest.fixture
def file(tmp_path, monkeypatch) -> Iterator[tuple[Path, TextIO]]:
    monkeypatch.setattr(file_writer, "AGAIN_S", 0.01)
    with (tmp_path / "log").open("w", encoding="utf-8") as stream:
        yield tmp_path / "log", stream


def test_a_file_has_each_line_once_it_is_written(file):
    path, stream = file
    outlet = Outlet(stream, told)
    for number in range(100):
        outlet.write(f"{number}\n")
        assert path.read_text().endswith(f"{number}\n")
    outlet.close()
    assert len(path.read_text().splitlines()) == 100


def test_a_file_whose_server_is_away_holds_the_writer_up_for_a_quarter_of_a_second_in_all(
    file, monkeypatch
):
    path, stream = file
    back, write = threading.Event(), os.write
    monkeypatch.setattr(file_writer.os, "write", lambda *given: back.wait() and write(*given))
    outlet = Outlet(stream, told)
    began = time.monotonic()
    for _ in range(1_000):
        outlet.write("line\n")
    assert time.monotonic() - began < 5
    assert path.read_text() == ""
    back.set()
    assert outlet._way.has_room(20)
    outlet.write("again\n")
    outlet.close()
    assert path.read_text() == "line\nlost 999\nagain\n"


def test_what_a_full_disk_did_not_take_is_written_once_there_is_room(file, monkeypatch):
    path, stream = file
    full, write, tries = [True], os.write, []

    def refused(*given: Any) -> int:
        tries.append(given)
        if full[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(*given)

    monkeypatch.setattr(file_writer.os, "write", refused)
    outlet = Outlet(stream, told)
    for number in range(100):
        outlet.write(f"{number}\n")
    full[0] = False
    assert outlet._way.has_room(20)
    outlet.write("again\n")
    assert path.read_text() == "0\nlost 99\nagain\n"
    assert len(tries) < 100
    outlet.close()


def test_a_file_that_takes_nothing_is_let_go_of(file, monkeypatch):
    _, stream = file
    before = {each.name for each in threading.enumerate()}
    outlet = Outlet(stream, told)
    monkeypatch.setattr(file_writer.os, "write", broken)
    outlet.write("x\n")
    outlet.close()
    until = time.monotonic() + 20
    while {each.name for each in threading.enumerate()} - before:
        assert time.monotonic() < until
        time.sleep(0.01)


def broken(*_: object) -> int:
    raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize(
    ("form", "word"),
    [("console", "WARNING rover.log the log was not read"), ("json", '"fields": {"lines": 3}')],
)
def test_the_log_tells_its_gap_in_its_own_form(pipe, monkeypatch, form, word):
    reading, stream = pipe
    root = logging.getLogger("rover")
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "propagate", True)
    monkeypatch.setattr("sys.stderr", stream)
    write_logs("INFO", tracebacks=False, form=form, waits=False)
    os.write(stream.fileno(), b"w" * ROOM)
    for each in "abc":
        root.info("event %s", each)
    text_of(reading)
    root.info("event d")
    lines = text_of(reading).splitlines()
    assert len(lines) == 2
    assert word in lines[0]
    assert "event d" in lines[1]
