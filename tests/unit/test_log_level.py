"""The level of a running agent is another for a while, and then what it was."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from rover.log_level import AGENTS_LOG, LONGEST, TIMER, LogLevel

Eventually = Callable[..., object]


@pytest.fixture
def level() -> Iterator[LogLevel]:
    root = logging.getLogger(AGENTS_LOG)
    before = root.level
    root.setLevel(logging.INFO)
    level = LogLevel("INFO")
    yield level
    level.close()
    root.setLevel(before)


def enforced() -> int:
    return logging.getLogger(f"{AGENTS_LOG}.reporter").getEffectiveLevel()


def timers() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == TIMER]


def test_it_is_as_configured_at_first(level: LogLevel):
    now = level.now()
    assert (now.level, now.configured, now.seconds_left) == ("INFO", "INFO", None)
    assert timers() == []


def test_a_change_is_in_force_at_once_and_tells_for_how_long(level: LogLevel):
    now = level.change("DEBUG", 300)
    assert enforced() == logging.DEBUG
    assert (now.level, now.configured) == ("DEBUG", "INFO")
    assert 290 < now.seconds_left <= 300


def test_the_configured_level_comes_back_by_itself(level: LogLevel, eventually: Eventually):
    level.change("DEBUG", 0.05)
    eventually(lambda: enforced() == logging.INFO)
    eventually(lambda: level.now().seconds_left is None and not timers())


def test_it_comes_back_at_once_where_that_is_asked_for(level: LogLevel, eventually: Eventually):
    level.change("ERROR", 300)
    assert level.restore().level == "INFO"
    assert enforced() == logging.INFO
    eventually(lambda: timers() == [])


def test_a_later_change_counts_and_has_its_own_time(level: LogLevel, eventually: Eventually):
    level.change("DEBUG", 0.05)
    level.change("WARN", 300)
    eventually(lambda: len(timers()) == 1)
    assert enforced() == logging.WARNING


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("LOUD", 60),
        ("debug", 60),
        ("DEBUG", 0),
        ("DEBUG", -1),
        ("DEBUG", LONGEST + 1),
        ("DEBUG", float("nan")),
        ("DEBUG", float("inf")),
    ],
)
def test_what_is_no_level_or_no_time_changes_nothing(level: LogLevel, name: str, seconds: float):
    with pytest.raises(ValueError, match="say"):
        level.change(name, seconds)
    assert enforced() == logging.INFO
    assert level.now().seconds_left is None


def test_a_change_is_told_in_the_log(level: LogLevel, caplog: pytest.LogCaptureFixture):
    logging.getLogger(AGENTS_LOG).addHandler(caplog.handler)
    level.change("DEBUG", 60)
    logging.getLogger(AGENTS_LOG).removeHandler(caplog.handler)
    assert "log level=DEBUG for 60 s, as asked" in caplog.text
