"""Clients of the agent's status address and socket that behave as no client should."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING

from bench.neighbours.http import attack

if TYPE_CHECKING:
    from bench.neighbours.place import Place

CONNECTIONS = 200
ADDRESSES = 20
ROUND = 5.0
"""Seconds of one attack; between two the socket of the agent's own user is tried."""


def clients(place: Place) -> None:
    """Hold connections of all hostile kinds, and knock at the door that is shut to others."""
    port = int(place.status.rpartition(":")[2])
    while place.goes_on():
        _knock(place)
        attack(port, min(ROUND, place.until - time.monotonic()), CONNECTIONS, ADDRESSES)


def _knock(place: Place) -> None:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(0.1)
        connection.connect(f"{place.state_dir}/rover.sock")
        raise SystemExit("the agent's own socket let another user in")
