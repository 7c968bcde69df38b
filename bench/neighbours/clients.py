"""Clients of the agent's status address that behave as no client should."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.neighbours.place import Place

CONNECTIONS = 200
QUESTIONS = (
    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"GET /why?pid=1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"HEAD / HTTP/1.1\r\n",
    b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n",
    b"GET /" + b"a" * 100_000,
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10_000,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\x00" * 100,
    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 500,
)


def clients(place: Place) -> None:
    """Keep connections open that trickle, swallow, break off or say nothing."""
    host, _, port = place.status.rpartition(":")
    opened: list[tuple[socket.socket, bytes, int]] = []
    while place.goes_on():
        while len(opened) < CONNECTIONS:
            connection = socket.socket()
            connection.settimeout(0.2)
            try:
                connection.connect((host or "127.0.0.1", int(port)))
            except OSError:
                connection.close()
                break
            opened.append((connection, place.random.choice(QUESTIONS), 0))
        opened = [kept for each in opened if (kept := _go_on(place, *each))]
        _knock(place)
        time.sleep(0.1)
    for connection, _, _ in opened:
        connection.close()


def _go_on(
    place: Place, connection: socket.socket, question: bytes, at: int
) -> tuple[socket.socket, bytes, int] | None:
    """Do one step on a connection; None where it is over."""
    chance = place.random.random()
    try:
        if chance < 0.05:
            connection.close()
            return None
        if chance < 0.8:
            size = 1 if chance < 0.6 else 4_096
            connection.send(question[at : at + size] or b"x")
            return connection, question, at + size
        if chance < 0.85:
            connection.shutdown(socket.SHUT_WR)
    except OSError:
        connection.close()
        return None
    return connection, question, at


def _knock(place: Place) -> None:
    """Try the socket of the agent's own user."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(0.1)
        connection.connect(f"{place.state_dir}/rover.sock")
        raise SystemExit("the agent's own socket let another user in")
