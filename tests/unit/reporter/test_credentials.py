"""Files with a token that are read again while the agent runs."""

import os
import time

import pytest

from rover.aside import PATIENCE_S, Aside
from rover.config.settings import BackendSettings
from rover.reporter.credentials import Credentials


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "token"
    file.write_text("first\n")
    return file


@pytest.fixture
def credentials(file):
    return Credentials(BackendSettings(authentication_file=str(file)))


def replaced_by(file, made):
    made.replace(file)


def test_a_token_is_in_force_once_its_file_has_changed(file, credentials, tmp_path, eventually):
    assert credentials.token == "first"  # noqa: S105
    assert not credentials.refresh()
    other = tmp_path / "other"
    other.write_text("second, and longer\n")
    replaced_by(file, other)
    eventually(credentials.refresh)
    assert credentials.token == "second, and longer"  # noqa: S105
    assert not credentials.refresh()


def test_a_file_that_hangs_is_waited_for_by_nobody_and_its_content_counts_once_it_comes(
    file, credentials, tmp_path, eventually, caplog
):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)  # whoever opens it waits for somebody who writes
    replaced_by(file, pipe)
    began = time.monotonic()
    assert not any(credentials.refresh() for _ in range(100))
    assert time.monotonic() - began < 10 * PATIENCE_S
    assert credentials.token == "first"  # noqa: S105
    assert caplog.text.count("not read in time") == 1
    with file.open("w") as writer:
        writer.write("second")
    eventually(credentials.refresh)
    assert credentials.token == "second"  # noqa: S105


def test_without_files_nothing_is_looked_at(monkeypatch):
    monkeypatch.setattr(Aside, "do", pytest.fail)
    credentials = Credentials(BackendSettings(authentication="given"))
    assert not credentials.refresh()
    assert credentials.token == "given"  # noqa: S105
