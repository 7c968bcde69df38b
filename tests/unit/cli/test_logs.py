"""A defect is one line where people read; its traceback goes where the log stands alone."""

from __future__ import annotations

import json
import logging
import re

import pytest

from rover.cli.logs import MOST_TRACEBACK, fields_of, write_logs
from rover.guard import Guard


@pytest.fixture
def log():
    root = logging.getLogger("rover")
    before = (root.handlers, root.level, root.propagate)
    yield root
    root.handlers, root.level, root.propagate = before


def deep(level: int = 0) -> int:
    return other(level + 1)


def other(level: int) -> int:
    return deep(level + 1)


def written(capsys: pytest.CaptureFixture[str], level: str, *, tracebacks: bool) -> str:
    write_logs(level, tracebacks=tracebacks)
    Guard().one("judge", "pid=7", deep)
    return capsys.readouterr().err


@pytest.mark.usefixtures("log")
def test_where_people_read_a_defect_is_one_line(capsys):
    said = written(capsys, "INFO", tracebacks=False)
    assert re.fullmatch(r"\S+Z ERROR rover.defects defect where=judge pid=7: .*\n", said)


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize(("level", "tracebacks"), [("INFO", True), ("DEBUG", False)])
def test_elsewhere_and_at_the_level_of_debugging_its_traceback_follows(capsys, level, tracebacks):
    said = written(capsys, level, tracebacks=tracebacks)
    assert "Traceback" in said
    assert "in deep" in said
    assert len(said) < MOST_TRACEBACK + 1_000, "bounded, however deep"


def test_no_secret_of_any_message_is_written(log, capsys):
    write_logs("INFO", tracebacks=True)
    log.info("proxy in the way url=%s", "http://user:hunter2@proxy:3128")
    log.error("defect pid=1", exc_info=ValueError("mysqld --password=hunter2"))
    written = capsys.readouterr().err
    assert "http://user:***@proxy:3128" in written
    assert "--password=***" in written
    assert "hunter2" not in written


def told_to_programs(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_what_others_wrote_ends_no_line_and_moves_no_cursor(log, capsys):
    write_logs("INFO", tracebacks=False)
    log.warning("rule fails: %s", "a\nERROR b\x1b[2J\udcff\u202e é")
    said = capsys.readouterr().err
    assert said.endswith("rule fails: a\\nERROR b\\x1b[2J\\udcff\\u202e é\n")


def test_programs_get_an_object_a_line_with_each_field_by_its_name(log, capsys):
    write_logs("INFO", tracebacks=False, form="json")
    log.getChild("agent").info(
        "started version=%s seconds=%.2f of %d%% reason=%r", "0.1.0", 0.4567, 7, "it's\nwell"
    )
    (told,) = told_to_programs(capsys)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(told.pop("time")))
    assert told == {
        "level": "INFO",
        "logger": "rover.agent",
        "message": 'started version=0.1.0 seconds=0.46 of 7% reason="it\'s\\nwell"',
        "fields": {"version": "0.1.0", "seconds": 0.4567, "reason": "it's\nwell"},
    }


@pytest.mark.usefixtures("log")
def test_programs_get_a_traceback_in_the_same_line(capsys):
    write_logs("INFO", tracebacks=False, form="json")
    Guard().one("judge", "pid=7", deep)
    (told,) = told_to_programs(capsys)
    assert "in deep" in str(told["exception"])
    assert len(str(told["exception"])) <= MOST_TRACEBACK + 1


@pytest.mark.parametrize("form", ["console", "json"])
def test_no_secret_is_written_in_either_form(log, capsys, form):
    write_logs("INFO", tracebacks=True, form=form)
    log.info("proxy url=%s password=%s", "http://user:hunter2@proxy:3128", "hunter3")
    log.error("defect pid=%d", 1, exc_info=ValueError("mysqld --password=hunter2"))
    assert "hunter" not in capsys.readouterr().err


@pytest.mark.parametrize("message", ["%(name)s", "a=%s", "a=%*d", "%", "a=%s b=%s %s"])
def test_a_message_of_another_make_has_no_fields(message):
    record = logging.LogRecord("rover", logging.INFO, "", 0, message, ("x", "y"), None)
    assert fields_of(record) == {}


def test_the_level_may_fall_to_debugging_while_the_agent_runs(log, capsys):
    write_logs("INFO", tracebacks=False)
    log.setLevel(logging.DEBUG)
    Guard().one("judge", "pid=7", deep)
    assert "Traceback" in capsys.readouterr().err
