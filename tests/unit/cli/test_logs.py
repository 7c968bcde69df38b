"""What the log shows."""

from __future__ import annotations

import logging

import pytest

from rover.cli.logs import write_logs


@pytest.fixture
def log():
    root = logging.getLogger("rover")
    before = root.handlers, root.level, root.propagate
    yield root
    root.handlers, root.propagate = before[0], before[2]
    root.setLevel(before[1])


def test_no_secret_of_any_message_is_written(log, capsys):
    write_logs("INFO")
    log.info("proxy in the way url=%s", "http://user:hunter2@proxy:3128")
    log.error("defect pid=1", exc_info=ValueError("mysqld --password=hunter2"))
    written = capsys.readouterr().err
    assert "http://user:***@proxy:3128" in written
    assert "--password=***" in written
    assert "hunter2" not in written
