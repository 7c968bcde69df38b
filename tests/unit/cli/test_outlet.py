"""Text that nobody takes is counted, and holds nobody up; claims of `rover.cli.outlet`."""

from __future__ import annotations

import contextlib
import fcntl
import io
import logging
import os
import threading
from collections.abc import Iterator
from typing import TextIO

import pytest

from rover.cli.logs import write_logs
from rover.cli.outlet import AT_ONCE, Outlet

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


def test_lines_that_nobody_takes_are_counted_and_told_once_somebody_does(pipe, monkeypatch):
    reading, stream = pipe
    outlet = Outlet(stream, told)
    looks = []
    takes = Outlet._takes

    def noted(outlet: Outlet) -> bool:
        waits = not outlet._is_stuck
        looks.append((waits, takes(outlet)))
        return looks[-1][1]

    monkeypatch.setattr(Outlet, "_takes", noted)
    full = "y" * (AT_ONCE - 1) + "\n"
    for _ in range(10):
        outlet.write(full)
    assert looks.count((True, False)) == 1, "it is waited for once"
    assert looks.count((False, False)) == 7
    assert text_of(reading) == 2 * full
    outlet.write("again\n")
    outlet.write("and on\n")
    assert text_of(reading) == "lost 8\nagain\nand on\n"


def test_a_line_that_was_taken_in_part_is_ended_first(pipe):
    reading, stream = pipe
    outlet = Outlet(stream, told)
    outlet.write("z" * (3 * ROOM) + "\n")
    assert text_of(reading) == "z" * ROOM
    outlet.write("again\n")
    assert text_of(reading) == "\nlost 1\nagain\n"


def test_another_stream_is_asked_only_while_there_is_room(pipe):
    reading, stream = pipe
    outlet, other = Outlet(stream, told), io.StringIO()
    outlet.lead_through(other)
    outlet.write("one\n")
    os.write(stream.fileno(), b"w" * ROOM)
    outlet.write("two\n")
    text_of(reading)
    outlet.write("three\n")
    assert other.getvalue() == "one\nlost 1\nthree\n"
    outlet.lead_through(None)
    outlet.write("four\n")
    assert text_of(reading) == "four\n"


def test_a_reader_that_is_gone_is_an_error_as_of_any_stream(pipe):
    reading, stream = pipe
    os.close(reading)
    with pytest.raises(BrokenPipeError):
        Outlet(stream, told).write("x\n")


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
