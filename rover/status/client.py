"""Asks a running agent over its socket, for commands."""

from __future__ import annotations

import http.client
import json
import os
import socket
import stat
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from rover.errors import RoverError
from rover.status.listeners import MOST_PATH, SOCKET_FILE, credentials

TIMEOUT: Final = 10.0
"""Seconds without a word from the agent; it ends what takes it longer."""
MOST_BYTES: Final = 64 * 2**20
"""Of an answer."""


class NotAskedError(RoverError):
    """There is no agent that this user could ask."""


class NotRunningError(NotAskedError):
    """No agent listens in the state directory."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the agent answered."""

    status: HTTPStatus
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 - whatever the agent tells
        """Return the content.

        Raises:
            RoverError: it is no JSON.
        """
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise RoverError(f"the agent's answer is no JSON: {self.body[:100]!r}") from error


def ask(state_dir: Path | str, target: str, method: str = "GET") -> Told:
    """Ask the agent that runs with this state directory.

    Args:
        state_dir: as the agent was started with, ``core.state_dir``.
        target: path and query, such as ``/why?pid=1``.
        method: POST where something is to be changed.

    Raises:
        NotRunningError: none runs.
        NotAskedError: this user may not ask it.
        RoverError: it does not answer.
    """
    path = Path(state_dir).absolute() / SOCKET_FILE
    with closing(_Connection(path)) as connection:
        try:
            connection.request(method, target)
            answer = connection.getresponse()
            body = answer.read(MOST_BYTES + 1)
        except (OSError, http.client.HTTPException) as error:
            raise RoverError(f"the agent at {path} does not answer: {error!r}") from error
    if len(body) > MOST_BYTES:
        raise RoverError(f"the agent's answer to {target} is larger than {MOST_BYTES} bytes")
    return Told(HTTPStatus(answer.status), body)


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket, with an agent at its other end."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = _connected(self._path)


def _connected(path: Path) -> socket.socket:
    """Connect to an agent of root or of this user, and to nobody else who took its place.

    Raises:
        NotRunningError: nobody listens.
        NotAskedError: it is not for this user.
        RoverError: it is somebody else's.
    """
    if len(os.fsencode(path)) > MOST_PATH:
        raise RoverError(f"the path {path} is too long for a socket: the agent cannot have made it")
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connected.settimeout(TIMEOUT)
        connected.connect(os.fspath(path))
        _, uid = credentials(connected)
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as error:
        connected.close()
        raise NotRunningError(
            f"no agent runs with the state directory {path.parent}: {error.strerror}; "
            "name its directory with --state-dir"
        ) from error
    except PermissionError as error:
        connected.close()
        raise NotAskedError(
            f"{path} is for root and the agent's own user alone; ask as one of them"
        ) from error
    except BaseException:
        connected.close()
        raise
    if uid not in {0, os.geteuid(), _owner(path)}:
        connected.close()
        raise RoverError(f"a process of uid {uid} listens at {path}, which is no agent of yours")
    return connected


def _owner(path: Path) -> int:
    """Return whose directory it is, where nobody else can write; else -1."""
    directory = path.parent.stat()
    shared = directory.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return -1 if shared else directory.st_uid
