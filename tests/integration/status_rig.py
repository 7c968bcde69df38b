"""A status service without an agent, and who asks it."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rover.errors import RoverError
from rover.explain.question import Question
from rover.log_level import LogLevel
from rover.status.service import StatusService
from rover.status.site import Answers
from rover.status.verdict import Verdict

NOBODY = 65_534
PRIVATE = "--password=hunter2"


class Fake:
    """Answers without an agent."""

    def __init__(self, *, fine: bool = True) -> None:
        self.fine = fine

    def health(self) -> Verdict:
        return Verdict(self.fine, {"discovery": "works"}, {"discovery": "works", "at": PRIVATE})

    def readiness(self) -> Verdict:
        return Verdict(self.fine, {"first_scan": "done"}, {"first_scan": "done", "at": PRIVATE})

    def overview(self) -> Mapping[str, Any]:
        return {"state": "well", "at": PRIVATE}

    def events(self, after: int | None) -> Mapping[str, Any]:
        return {"events": [], "after": after or 0, "lost": 0}

    def processes(self) -> list[dict[str, Any]]:
        return [
            {
                "pid": 4711,
                "name": "mysqld",
                "command_line": PRIVATE,
                "reason": "reported",
                "detail": "",
                "entities": [
                    {"layer": "OS_LINUX", "service": "db", "instance": "i", "process": "mysqld"}
                ],
            },
        ]

    def explain(self, question: Question) -> Mapping[str, Any]:
        return {"asked": str(question), "error": "the agent knows no such process"}

    def why(self, pid: int) -> Mapping[str, Any] | None:
        if pid == 7:
            raise RoverError("the discovery thread gave no answer within 5 s")
        if pid == 8:
            raise ZeroDivisionError
        return {"pid": pid, "command_line": PRIVATE} if pid == 1 else None


@contextlib.contextmanager
def serving(
    folder: Path,
    address: str = "127.0.0.1:0",
    answers: Answers | None = None,
    names: tuple[str, ...] = (),
) -> Iterator[StatusService]:
    service = StatusService(address, str(folder))
    service.serve(answers or Fake(), names, log_level=LogLevel("INFO"))
    try:
        yield service
    finally:
        service.close()


def get(
    port: int, path: str, method: str = "GET", host: str | None = None, to: str = "127.0.0.1"
) -> tuple[int, str]:
    """Ask over TCP; return the status and the text."""
    connection = http.client.HTTPConnection(to, port, timeout=10)
    connection.request(method, path, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


CONNECT = """
import socket, sys
asker = socket.socket(socket.AF_UNIX)
try:
    asker.connect(sys.argv[1])
    asker.send(b"GET /why?pid=1 HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
    print(asker.recv(65536).decode())
except OSError as error:
    print(type(error).__name__)
"""


def as_user(uid: int, path: Path, *rights: str) -> str:
    """Ask over the socket as another user; return the answer or the error's name."""
    command = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *rights]
    told = subprocess.run(
        [*command, sys.executable, "-S", "-c", CONNECT, str(path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return told.stdout
