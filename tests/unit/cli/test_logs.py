"""A defect is one line where people read; its traceback goes where the log stands alone."""

from __future__ import annotations

import logging
import re

import pytest

from rover.cli.logs import MOST_TRACEBACK, write_logs
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
