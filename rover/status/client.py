"""Asks a running agent over its socket, for commands.

Its HTTP is as little as the agent's own (`rover.status.http`): Python's client would take longer to
be imported than the answer takes to come.
"""

from __future__ import annotations

import json
import os
import re
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
PIECE: Final = 2**20
"""Bytes that are taken at once."""
HEAD: Final = re.compile(
    rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n(?:[^\r\n]+\r\n)*?"
    rb"Content-Length: (\d+)\r\n(?:[^\r\n]+\r\n)*\r\n"
)
"""Of an answer: its status, and how many bytes follow."""


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
    with closing(_connected(path)) as connected:
        try:
            received = _exchanged(connected, method, target)
        except TimeoutError as error:
            raise RoverError(f"{path} gives no answer: {_silent(connected)}") from error
        except OSError as error:
            raise RoverError(
                f"the agent at {path} does not answer: {error!r}; it may be ending: ask again"
            ) from error
    if len(received) > MOST_BYTES:
        raise RoverError(f"the agent's answer to {target} is larger than {MOST_BYTES} bytes")
    head = HEAD.match(received)
    if head is None or len(received) - head.end() != int(head[2]):
        raise RoverError(
            f"the agent at {path} broke off its answer after {len(received)} bytes; it may be "
            "ending: ask again"
        )
    return Told(HTTPStatus(int(head[1])), bytes(received[head.end() :]))


def _exchanged(connected: socket.socket, method: str, target: str) -> bytearray:
    """Send a request; return all that comes, and little more than the most that may.

    Raises:
        OSError: the connection was broken, or nothing came for `TIMEOUT`.
    """
    connected.sendall(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode("ascii"))
    received = bytearray()
    while len(received) <= MOST_BYTES and (piece := connected.recv(PIECE)):
        received += piece
    return received


def _silent(connected: socket.socket) -> str:
    """Say what is known of an agent that is there and says nothing."""
    try:
        pid, _ = credentials(connected)
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1]
    except OSError:
        return f"nothing came within {TIMEOUT:g} s"
    if state in {b"T", b"t"}:
        return f"its process {pid} is stopped; kill -CONT {pid} has it go on"
    return f"nothing came from process {pid} within {TIMEOUT:g} s; its log may say what it does"


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
    except OSError as error:
        connected.close()
        raise RoverError(f"{path} cannot be connected to: {error.strerror or error}") from error
    if uid not in {0, os.geteuid(), _owner(path)}:
        connected.close()
        raise RoverError(f"a process of uid {uid} listens at {path}, which is no agent of yours")
    return connected


def _owner(path: Path) -> int:
    """Return whose directory it is, where nobody else can write; else -1."""
    directory = path.parent.stat()
    shared = directory.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return -1 if shared else directory.st_uid
