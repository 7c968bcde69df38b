"""Clients that mean no good to an HTTP server: ``python -m bench.neighbours.http PORT SECONDS``.

They come from as many loopback addresses as asked for, hold COUNT connections, and connect anew
where the server ends one. Prints how many each kind has opened. Also holds what tests ask by.
"""

from __future__ import annotations

import argparse
import json
import random
import selectors
import socket
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

TLS_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(range(193))
GET = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n"
UPGRADE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
PROXY = b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n"


@dataclass(frozen=True)
class Kind:
    """What one kind of client does."""

    opening: bytes = b""
    """Sent at once."""
    drip: bytes = b""
    """Sent byte by byte after that, over and over."""
    every: float = 1.0
    """Seconds between two bytes."""
    reads: bool = False
    shuts: bool = False
    """Ends its own side after the opening."""
    stays: bool = True
    """Keeps the connection for as long as the server does."""


KINDS = {
    "silent": Kind(),
    "trickles a request": Kind(drip=GET * 50),
    "trickles a header": Kind(GET + b"X: ", drip=b"x"),
    "trickles fast": Kind(GET, drip=b"x", every=0.001),
    "reads nothing": Kind(GET + b"\r\n"),
    "pipelines and reads nothing": Kind((GET + b"\r\n") * 200, drip=GET + b"\r\n", every=0.01),
    "pipelines and reads": Kind((GET + b"\r\n") * 20, reads=True),
    "half a request, half closed": Kind(GET, shuts=True),
    "a request, half closed": Kind(GET + b"\r\n", shuts=True, reads=True),
    "huge header": Kind(GET + b"X: " + b"x" * 1_000_000, reads=True),
    "endless line": Kind(b"GET /" + b"a" * 100_000, drip=b"a", every=0.01, reads=True),
    "many headers": Kind(GET + b"X: y\r\n" * 50_000, reads=True),
    "endless body": Kind(
        b"POST /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 999999999\r\n\r\n",
        drip=b"x", every=0.001,
    ),
    "chunks": Kind(
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        drip=b"1\r\nx\r\n", every=0.01,
    ),
    "websocket": Kind(GET + UPGRADE, drip=b"\x81\x01x"),
    "TLS": Kind(TLS_HELLO, drip=b"\x16", reads=True),
    "HTTP/2": Kind(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", drip=b"\0"),
    "PROXY": Kind(PROXY + GET + b"\r\n", reads=True),
    "garbage": Kind(random.Random(1).randbytes(20_000), drip=b"\0\xff", reads=True),
    "connects and goes": Kind(stays=False),
}  # fmt: skip


class Client:
    """One connection of one kind after the other."""

    def __init__(self, kind: str, source: str, server: tuple[str, int]) -> None:
        self.kind, self.source, self.server = kind, source, server
        self.does = KINDS[kind]
        self.socket: socket.socket | None = None
        self.unsent = memoryview(b"")
        self.dripped = 0
        self.next_drip = 0.0

    def connect(self, poll: selectors.BaseSelector) -> None:
        self.socket = opened = socket.socket()
        opened.settimeout(0)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        opened.bind((self.source, 0))
        opened.connect_ex(self.server)
        self.unsent = memoryview(self.does.opening)
        self.dripped, self.next_drip = 0, time.monotonic() + random.uniform(0, self.does.every)
        poll.register(opened, selectors.EVENT_WRITE, self)

    def go_on(self, poll: selectors.BaseSelector, mask: int) -> bool:
        """Do the next thing; tell whether the connection is still there."""
        if self.socket is None:
            return False
        try:
            if mask & selectors.EVENT_READ and not self._is_open():
                return self.end(poll)
            if mask & selectors.EVENT_WRITE:
                if not self.does.stays:
                    self.socket.getpeername()
                    return self.end(poll)
                if self.unsent:
                    self.unsent = self.unsent[self.socket.send(self.unsent) :]
                if not self.unsent:
                    if self.does.shuts:
                        self.socket.shutdown(socket.SHUT_WR)
                    poll.modify(self.socket, selectors.EVENT_READ, self)
        except BlockingIOError:
            pass
        except OSError:
            return self.end(poll)
        return True

    def _is_open(self) -> bool:
        """Look whether the server has ended it; who does not read looks without taking."""
        assert self.socket is not None
        if self.does.reads:
            return bool(self.socket.recv(65_536))
        return bool(self.socket.recv(1, socket.MSG_PEEK))

    def drip(self, poll: selectors.BaseSelector, now: float) -> None:
        if self.socket is None or self.unsent or not self.does.drip or now < self.next_drip:
            return
        self.next_drip = now + self.does.every
        at = self.dripped % len(self.does.drip)
        self.dripped += 1
        try:
            self.socket.send(self.does.drip[at : at + 1])
        except BlockingIOError:
            pass
        except OSError:
            self.end(poll)

    def end(self, poll: selectors.BaseSelector) -> bool:
        if self.socket is not None:
            poll.unregister(self.socket)
            self.socket.close()
            self.socket = None
        return False


def attack(port: int, seconds: float, count: int, addresses: int) -> Counter[str]:
    """Hold `count` connections for so long; return how many of each kind were opened."""
    kinds = list(KINDS)
    clients = [
        Client(kinds[number % len(kinds)], address(1 + number % addresses), ("127.0.0.1", port))
        for number in range(count)
    ]
    opened: Counter[str] = Counter()
    until = time.monotonic() + seconds
    with selectors.EpollSelector() as poll:
        while (now := time.monotonic()) < until:
            for client in clients:
                if client.socket is None:
                    with suppress(OSError):
                        client.connect(poll)
                        opened[client.kind] += 1
                client.drip(poll, now)
            for key, mask in poll.select(0.01):
                key.data.go_on(poll, mask)
        for client in clients:
            client.end(poll)
    return opened


def address(number: int) -> str:
    """Return the so manieth neighbour on the loopback network, 127.0.0.1 left out."""
    return f"127.1.{number // 250}.{number % 250 + 1}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("count", type=int, nargs="?", default=1_000)
    parser.add_argument("--addresses", type=int, default=250)
    given = parser.parse_args()
    print(json.dumps(attack(given.port, given.seconds, given.count, given.addresses)))


if __name__ == "__main__":
    main()
