"""A view waits for whoever takes its text until it is told to end: `rover.cli.patient`."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
import time
from collections.abc import Iterator
from typing import TextIO

import pytest

from rover.cli import patient as subject
from rover.cli.patient import Patient, patient_output
from rover.stopping import StopRequest

LONG = "säge " * 40_000 + "\n"
"""More than a pipe holds."""


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="utf-8") as stream:
        yield reading, stream
    with contextlib.suppress(OSError):
        os.close(reading)


def test_who_reads_slowly_gets_all_of_it(pipe, monkeypatch):
    monkeypatch.setattr(subject, "LOOK_S", 0.01)
    reading, stream = pipe
    patient = Patient(stream, StopRequest())
    writing = [threading.Thread(target=patient.write, args=(LONG,)) for _ in range(2)]
    for each in writing:
        each.start()
    found = b""
    while len(found) < 2 * len(LONG.encode()):
        time.sleep(0.02)
        found += os.read(reading, 1 << 14)
    for each in writing:
        each.join()
    assert found.decode() == 2 * LONG
    patient.close()


def test_once_the_end_is_asked_for_it_waits_a_moment_and_then_for_nothing(pipe, monkeypatch):
    monkeypatch.setattr(subject, "LOOK_S", 0.01)
    monkeypatch.setattr(subject, "LAST_S", 0.01)
    reading, stream = pipe
    stop = StopRequest()
    patient = Patient(stream, stop)
    writing = threading.Thread(target=patient.write, args=(LONG,))
    writing.start()
    writing.join(0.2)
    assert writing.is_alive()
    stop.set()
    writing.join(20)
    assert not writing.is_alive()
    os.read(reading, 1 << 20)
    patient.write("more")  # would be no end of what was broken off
    assert not select.select([reading], [], [], 0)[0]
    patient.close()


def test_what_is_taken_is_written_though_the_end_was_asked_for(pipe):
    reading, stream = pipe
    stop = StopRequest()
    stop.set()
    patient = Patient(stream, stop)
    assert patient.write("the last line\n") == 14
    assert os.read(reading, 100) == b"the last line\n"
    patient.close()


def test_a_reader_that_is_gone_is_told_at_once(pipe):
    reading, stream = pipe
    patient = Patient(stream, StopRequest())
    os.close(reading)
    with pytest.raises(BrokenPipeError):
        patient.write("x")
    patient.close()


def test_a_file_is_written_to_as_ever(tmp_path, monkeypatch):
    with (tmp_path / "file").open("w") as file:
        monkeypatch.setattr(sys, "stdout", file)
        with patient_output(StopRequest()):
            assert sys.stdout is file


def test_standard_output_is_what_it_was_afterwards(pipe, monkeypatch):
    reading, stream = pipe
    monkeypatch.setattr(sys, "stdout", stream)
    with patient_output(StopRequest()):
        assert sys.stdout is not stream
        assert (sys.stdout.encoding, sys.stdout.isatty()) == ("utf-8", False)
        sys.stdout.write("within\n")
    assert sys.stdout is stream
    assert os.read(reading, 100) == b"within\n"
