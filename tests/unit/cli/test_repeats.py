"""An event that comes again and again is written once, and then how often."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Callable

import pytest

from rover.cli.logs import Events, JsonEvents
from rover.cli.repeats import MOST_KEPT, TIMER, Summing

Eventually = Callable[..., object]


class Rig:
    def __init__(self, within: float = 60.0, *, form: logging.Formatter | None = None) -> None:
        self.now = 0.0
        self.written = io.StringIO()
        self.handler = Summing(within, lambda: self.now)
        self.handler.setStream(self.written)
        self.handler.setFormatter(form or logging.Formatter("%(message)s"))
        self.log = logging.Logger("rover.test", logging.DEBUG)  # noqa: LOG001 - of this test alone
        self.log.addHandler(self.handler)

    @property
    def lines(self) -> list[str]:
        return self.written.getvalue().splitlines()


@pytest.fixture
def rig() -> Rig:
    return Rig(form=Events(tracebacks=False))


def messages(rig: Rig) -> list[str]:
    return [line.split(" ", 3)[3] for line in rig.lines]


def test_what_is_said_again_is_summed_up_when_its_time_is_over(rig: Rig):
    for _ in range(5):
        rig.log.info("lost place=%s", "ring")
    assert messages(rig) == ["lost place=ring"]
    rig.now = 61
    rig.log.info("other")
    assert messages(rig)[1:] == ["lost place=ring (4 more times in 61 s)", "other"]
    rig.handler.close()


def test_what_goes_on_is_told_once_in_each_such_time(rig: Rig):
    for second in range(0, 300, 10):
        rig.now = second
        rig.log.warning("again")
    assert len(rig.lines) == 5
    assert messages(rig)[1] == "again (5 more times in 60 s)"
    rig.handler.close()


def test_events_that_differ_are_all_written(rig: Rig):
    rig.log.info("ended pid=%d signal=%d", 1, 9)
    rig.log.info("ended pid=%d signal=%d", 1, 15)
    rig.log.warning("ended pid=%d signal=%d", 1, 15)
    rig.log.info("ended ppid=%d", 1)
    rig.log.info("ended ppid=%d", 2)
    assert len(rig.lines) == 5
    rig.handler.close()


@pytest.mark.parametrize("message", ["refused pid=%d", "fails, on pid %d first", "process %d gone"])
def test_what_befalls_one_process_after_the_other_is_summed_up_with_their_pids(
    rig: Rig, message: str
):
    for pid in (7, 9, 8, 7, 9):
        rig.log.info(message, pid)
    rig.handler.close()
    first = message % 7
    assert messages(rig) == [first, f"{first} (4 more times in 0 s, of pid 9, 8 too)"]


def test_of_very_many_processes_some_are_named(rig: Rig):
    for pid in range(1, 1_000):
        rig.log.info("refused pid=%d", pid)
    rig.handler.close()
    others = ", ".join(map(str, range(2, 10)))
    assert messages(rig)[1:] == [f"refused pid=1 (998 more times in 0 s, of pid {others}, … too)"]


def test_in_json_the_pids_of_a_sum_are_a_list():
    rig = Rig(form=JsonEvents())
    for pid in (7, 8):
        rig.log.info("refused pid=%d", pid)
    rig.handler.close()
    told = json.loads(rig.lines[-1])
    assert (told["fields"], told["repeated"], told["of_pids_too"]) == ({"pid": 7}, 1, [8])


def test_what_is_for_debugging_is_written_as_it_comes(rig: Rig):
    rig.log.debug("beat")
    rig.log.debug("beat")
    assert len(rig.lines) == 2


def test_an_event_that_comes_again_later_is_a_new_one(rig: Rig):
    rig.log.info("connected")
    rig.now = 61
    rig.log.info("connected")
    assert messages(rig) == ["connected", "connected"]


def test_a_sum_is_told_without_another_event(eventually: Eventually):
    rig = Rig(0.05)
    rig.log.info("again")
    rig.log.info("again")
    rig.now = 1.0
    eventually(lambda: rig.lines == ["again", "again"])
    rig.handler.close()


def test_a_sum_is_told_at_the_end_and_leaves_no_timer(rig: Rig, eventually: Eventually):
    rig.log.info("again")
    rig.log.info("again")
    rig.handler.close()
    assert messages(rig) == ["again", "again (1 more time in 0 s)"]
    eventually(lambda: not [each for each in threading.enumerate() if each.name == TIMER])


def test_no_more_than_so_many_events_are_remembered(rig: Rig):
    rig.log.info("first")
    rig.log.info("first")
    for number in range(2 * MOST_KEPT):
        rig.log.info("event=%d", number)
        assert len(rig.handler._written) <= MOST_KEPT
    assert "first (1 more time in 0 s)" in messages(rig)
    rig.handler.close()


def test_a_message_that_cannot_be_made_harms_no_other(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    rig.log.info("pid=%d", "none")
    rig.log.info("next")
    assert messages(rig) == ["next"]


def test_programs_get_the_sum_as_numbers():
    rig = Rig(form=JsonEvents())
    rig.log.info("again")
    rig.log.info("again")
    rig.handler.close()
    assert '"repeated": 1, "within_seconds": 0' in rig.lines[1]


@pytest.mark.parametrize("digits", ["9" * 5_000, "\u0663" * 5_000, "\u00b2"])
def test_a_message_with_digits_of_any_number_and_kind_is_written(rig: Rig, digits: str):
    for _ in range(2):
        rig.log.warning("rule fails: process %s", digits)
    assert len(rig.lines) == 1
    rig.handler.close()
