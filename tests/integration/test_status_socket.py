"""The socket in the state directory: who may ask there, and what is said where there is none."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from status_rig import NOBODY, PRIVATE, as_user, serving

from rover.errors import RoverError, StateError
from rover.status.client import NotRunningError, ask
from rover.status.listeners import MOST_PATH, SOCKET_FILE, SocketListener


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory that everybody may pass: the socket's own mode is what is tested."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/why?pid=1", 200),
        ("/why?pid=2", 404),
        ("/why?pid=7", 503),
        ("/why?pid=8", 500),
        ("/why?pid=-1", 400),
        ("/why?pid=%C2%B2", 400),
        ("/why", 400),
        ("/", 200),
        ("/?q=mysqld", 200),
        ("/nowhere", 404),
        ("/metrics", 200),
        ("/log-level", 200),
    ],
)
def test_each_question_gets_its_status(folder: Path, target: str, status: int):
    with serving(folder, ""):
        assert ask(folder, target).status == status


def test_it_tells_all_that_is_known(folder: Path):
    with serving(folder, ""):
        for target in ("/why?pid=1", "/healthz", "/readyz"):
            assert PRIVATE in ask(folder, target).body.decode()


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/log-level?level=DEBUG&seconds=60", 200),
        ("/log-level", 200),
        ("/log-level?level=DEBUG", 400),
        ("/log-level?level=LOUD&seconds=60", 400),
        ("/log-level?level=DEBUG&seconds=1e99", 400),
        ("/log-level?level=DEBUG&seconds=nan", 400),
        ("/healthz", 405),
        ("/nowhere", 405),
    ],
)
def test_nothing_can_be_changed_but_the_level_of_the_log(folder: Path, target: str, status: int):
    before = logging.getLogger("rover").level
    with serving(folder, ""):
        assert ask(folder, target, "POST").status == status
    logging.getLogger("rover").setLevel(before)


def test_who_asks_again_and_again_is_answered_each_time(folder: Path):
    """As `rover events` and `--watch` do, four times a second."""
    with serving(folder, ""):
        assert {ask(folder, "/healthz").status for _ in range(100)} == {200}


def test_curl_can_ask(folder: Path):
    with serving(folder, ""):
        told = subprocess.run(
            ["curl", "--silent", "--unix-socket", folder / SOCKET_FILE, "http://localhost/why?pid=1"],
            capture_output=True, check=True,
        )  # fmt: skip
    assert json.loads(told.stdout)["pid"] == 1


def test_no_other_user_can_connect(folder: Path):
    with serving(folder, ""):
        assert (folder / SOCKET_FILE).stat().st_mode & 0o777 == 0o600
        assert as_user(NOBODY, folder / SOCKET_FILE).strip() == "PermissionError"
        assert PRIVATE in as_user(0, folder / SOCKET_FILE)


def test_one_who_connects_all_the_same_is_told_nothing(folder: Path):
    with serving(folder, ""):
        (folder / SOCKET_FILE).chmod(0o666)
        told = as_user(NOBODY, folder / SOCKET_FILE)
        assert told.startswith("HTTP/1.1 403 ")
        assert PRIVATE not in told


def test_the_socket_of_a_dead_agent_is_replaced(folder: Path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(folder / SOCKET_FILE))
    with serving(folder, ""):
        assert ask(folder, "/healthz").status == 200


def test_that_of_a_live_one_is_not(folder: Path):
    with serving(folder, ""):
        with pytest.raises(StateError, match="another agent listens on it"):
            SocketListener(folder)
        assert ask(folder, "/healthz").status == 200


def test_nothing_else_is_replaced(folder: Path):
    (folder / SOCKET_FILE).write_text("mine")
    with pytest.raises(StateError, match="is no socket"):
        SocketListener(folder)
    assert (folder / SOCKET_FILE).read_text() == "mine"


def test_it_is_gone_with_the_service_and_no_other_is(folder: Path):
    with serving(folder, ""):
        pass
    assert not (folder / SOCKET_FILE).exists()
    with serving(folder, ""):
        (folder / SOCKET_FILE).unlink()
        (folder / SOCKET_FILE).write_text("another's")
    assert (folder / SOCKET_FILE).exists()


def test_a_path_that_is_too_long_is_told_with_what_to_do(folder: Path):
    deep = folder / ("d" * (MOST_PATH - len(os.fsencode(folder)) - len(SOCKET_FILE) - 1))
    deep.mkdir(mode=0o700)
    with pytest.raises(StateError, match=rf"has {MOST_PATH + 1} bytes.* shorter directory"):
        SocketListener(deep)
    with pytest.raises(RoverError, match="too long"):
        ask(deep, "/healthz")
    just = deep.with_name(deep.name[1:])
    just.mkdir(mode=0o700)
    with serving(just, ""):
        assert ask(just, "/healthz").status == 200


def test_a_directory_that_others_can_write_is_refused(folder: Path):
    folder.chmod(0o777)
    with pytest.raises(StateError, match="chmod go-w"):
        SocketListener(folder)


READ_ONLY = """
set -e
mount --bind "$1" "$1"
mount -o remount,ro,bind "$1"
exec "$2" -c '
import sys
from rover.status.listeners import SocketListener
from rover.errors import StateError
try:
    SocketListener(sys.argv[1])
except StateError as error:
    print(error)
' "$1"
"""


@pytest.mark.kernel
def test_in_a_read_only_directory_there_is_none_and_the_log_says_so(
    folder: Path, caplog: pytest.LogCaptureFixture
):
    told = subprocess.run(
        ["unshare", "--mount", "sh", "-c", READ_ONLY, "sh", folder, sys.executable],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "Read-only file system" in told.stdout
    with caplog.at_level(logging.WARNING), serving(folder / "missing", ""):
        assert "status socket not served" in caplog.text


def test_where_no_agent_runs_that_is_what_is_said(folder: Path):
    with pytest.raises(NotRunningError, match="no agent runs with the state directory"):
        ask(folder, "/healthz")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(folder / SOCKET_FILE))
    with pytest.raises(NotRunningError, match="Connection refused"):
        ask(folder, "/healthz")
