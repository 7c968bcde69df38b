"""A step that fails costs itself alone, is counted, and is told in measure."""

from __future__ import annotations

import logging

import pytest

from rover.guard import TOLD_EACH, Defect, Guard


class UnprintableError(Exception):
    def __repr__(self) -> str:
        raise RuntimeError("not even this")


def deep(level: int = 0) -> int:
    return deep(level + 1)


def exhausted() -> None:
    raise MemoryError


def unprintable() -> None:
    raise UnprintableError


def hostile() -> None:
    raise ValueError("a\nb\x1b[2J" + "x" * 10_000)


@pytest.mark.parametrize("step", [deep, exhausted, unprintable, hostile])
def test_whatever_a_step_raises_comes_back_as_one_bounded_printable_line(step):
    defect = Guard().one("judge", "pid=7", step)
    assert isinstance(defect, Defect)
    assert len(defect.what) < 400
    assert defect.what.isprintable()


def test_what_a_step_returns_comes_back():
    assert Guard().one("judge", "pid=7", max, 1, 2) == 2


@pytest.mark.parametrize("ends", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_meant_to_end_a_thread_does(ends):
    def step() -> None:
        raise ends

    with pytest.raises(ends):
        Guard().one("judge", "pid=7", step)


def test_one_place_is_told_a_few_times_with_one_traceback_and_counted_always(caplog):
    guard = Guard()
    for pid in range(50):
        guard.one("judge", f"pid={pid}", exhausted)
    assert len(caplog.records) == TOLD_EACH
    assert [bool(record.exc_info) for record in caplog.records] == [True, False, False]
    assert guard.counts["judge"] == 50


def test_a_flood_of_one_defect_does_not_hide_another(caplog):
    guard = Guard()
    for pid in range(50):
        guard.one("judge", f"pid={pid}", exhausted)
    caplog.clear()
    guard.one("judge", "pid=99", hostile)
    assert "pid=99" in caplog.text


def test_a_step_of_the_thread_that_fails_is_failing_since_it_first_did_until_it_succeeds():
    times = iter([10.0, 20.0])
    guard = Guard(clock=lambda: next(times))
    guard.whole("refresh", exhausted)
    guard.whole("take", hostile)
    guard.whole("refresh", exhausted)
    failing = guard.failing()
    assert failing is not None
    assert (failing.since, failing.defect.where) == (10.0, "refresh")
    guard.whole("refresh", max, 1, 2)
    failing = guard.failing()
    assert failing is not None
    assert failing.defect.where == "take"


def test_the_line_names_the_step_its_subject_and_the_place_in_the_agent(caplog):
    from rover.config.address import endpoints  # noqa: PLC0415

    caplog.set_level(logging.ERROR)
    Guard().one("judge", "pid=7", endpoints, None)  # type: ignore[arg-type]
    assert "defect where=judge pid=7: AttributeError" in caplog.text
    assert "at rover/config/address.py:" in caplog.text


def test_a_secret_in_what_an_exception_repeats_is_told_to_nobody(caplog):
    def repeat() -> None:
        raise ValueError(f"{'x' * 180} mysqld --password=hunter2hunter2hunter2")

    defect = Guard().one("judge", "pid=7", repeat)
    assert isinstance(defect, Defect)
    assert "hunter" not in defect.what
    assert "hunter" not in caplog.text.partition("Traceback")[0]
