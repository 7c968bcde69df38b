"""What a command makes of an agent that answers badly, or not at all."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rover.errors import RoverError
from rover.status import client
from rover.status.client import NotRunningError, ask
from rover.status.http import Answer, HTTPStatus
from rover.status.listeners import SOCKET_FILE

WHOLE = Answer(HTTPStatus.NOT_FOUND, b'{"a": "\xc3\xa9"}', headers=(("X-More", "1"),))
SILENT = """
import socket, sys
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1])
listening.listen()
print("listens", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def answering(folder: Path, content: bytes) -> Iterator[None]:
    """Answer one request with these bytes, and end the connection."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / SOCKET_FILE))
        listening.listen()

        def answer() -> None:
            asker, _ = listening.accept()
            with asker:
                asker.recv(4096)
                asker.sendall(content)

        thread = threading.Thread(target=answer)
        thread.start()
        yield
        thread.join()


@contextlib.contextmanager
def silent(folder: Path) -> Iterator[int]:
    """Have a process listen that never accepts; give its pid."""
    with subprocess.Popen(
        [sys.executable, "-S", "-c", SILENT, folder / SOCKET_FILE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout
        process.stdout.readline()
        try:
            yield process.pid
        finally:
            process.kill()


def test_a_whole_answer_is_taken_with_its_status(tmp_path: Path):
    with answering(tmp_path, WHOLE.sent(head_only=False)):
        told = ask(tmp_path, "/why?pid=1")
    assert told.status is HTTPStatus.NOT_FOUND
    assert told.json() == {"a": "é"}


@pytest.mark.parametrize("missing", [1, len(WHOLE.body) + 1, len(WHOLE.sent(head_only=False))])
def test_an_answer_that_breaks_off_is_none(tmp_path: Path, missing: int):
    sent = WHOLE.sent(head_only=False)[:-missing]
    with answering(tmp_path, sent), pytest.raises(RoverError, match=r"broke off .* ask again"):
        ask(tmp_path, "/")


def test_no_more_is_taken_than_an_answer_may_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client, "MOST_BYTES", 100)
    much = Answer(HTTPStatus.OK, b"x" * 200).sent(head_only=False)
    with answering(tmp_path, much), pytest.raises(RoverError, match="larger than 100 bytes"):
        ask(tmp_path, "/processes")


def test_an_agent_that_is_stopped_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client, "TIMEOUT", 0.2)
    with silent(tmp_path) as pid:
        os.kill(pid, signal.SIGSTOP)
        os.waitpid(pid, os.WUNTRACED)
        with pytest.raises(RoverError, match=f"process {pid} is stopped; kill -CONT {pid}"):
            ask(tmp_path, "/status")


def test_an_agent_that_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client, "TIMEOUT", 0.2)
    with silent(tmp_path) as pid, pytest.raises(RoverError, match=f"from process {pid} within"):
        ask(tmp_path, "/status")


def test_a_directory_that_is_a_file_has_no_agent(tmp_path: Path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(NotRunningError, match=str(file)):
        ask(file, "/status")
