"""Has the kernel hold off peers that connect far more often than anyone needs to.

A classic BPF filter at the listening socket drops their packets, so that their connections begin
only when they are let go: what it takes is their own processor's time. It needs no rights. Those of
their connections that are there go on, for they have the filter of the time when they began.
"""

from __future__ import annotations

import ctypes
import logging
import socket
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

log = logging.getLogger("rover.status")

HELD_S: Final = 10.0
"""Seconds for which a peer is held off first; each time that it goes on at once, twice as long."""
LONGEST_S: Final = 80.0
FORGIVEN_S: Final = 60.0
"""Seconds after which a peer that was let go, and has not flooded since, is as good as any."""
REMEMBERED: Final = 1_024
"""Peers of which it is known for how long they were held off, at most."""
SETTLE_S: Final = 0.1
"""Seconds between two filters: peers that flood are many."""
MOST_INSTRUCTIONS: Final = 1_024
"""Of a filter: 500 IPv4 peers or 100 IPv6 ones. The kernel takes few KiB of options a socket where
net.core.optmem_max is small."""

SO_ATTACH_FILTER: Final = 26
SO_DETACH_FILTER: Final = 27
"""Of include/uapi/asm-generic/socket.h; Python names neither."""
NETWORK_HEADER: Final = 0xFFF00000
"""SKF_NET_OFF of linux/filter.h: what follows is counted from the IP header."""
IPV4_MAPPED: Final = b"\0" * 10 + b"\xff\xff"
"""How IPv6 addresses begin that stand for one of IPv4: where both families are listened on, IPv4
peers have such ones, and their packets do not."""
IPV4_SOURCE: Final = 12
IPV6_SOURCE: Final = 8
LOAD_BYTE: Final = 0x30
LOAD_WORD: Final = 0x20
SHIFT_RIGHT: Final = 0x74
JUMP: Final = 0x05
JUMP_IF_EQUAL: Final = 0x15
RETURN: Final = 0x06
WHOLE: Final = 0xFFFFFFFF


class Instruction(NamedTuple):
    """``struct sock_filter`` of linux/filter.h."""

    code: int
    if_true: int
    if_false: int
    value: int


class HeldOff:
    """Who is held off from one listening socket; times are seconds of a clock that only grows."""

    def __init__(self, listening: socket.socket) -> None:
        """Hold nobody off yet."""
        self._listening = listening
        self._until: dict[bytes, float] = {}
        self._lately: dict[bytes, tuple[float, float]] = {}
        """For how long a peer was held off last, and when that is forgotten."""
        self._is_new = False
        self._set_at = 0.0

    def __len__(self) -> int:
        return len(self._until)

    def hold(self, peer: Hashable, now: float) -> float:
        """Hold a peer off from the next `refresh` on; one that is no IP address is not.

        Returns:
            When it is let go; now for one that is not held off.
        """
        if not (isinstance(peer, str) and (address := packed(peer))):
            return now
        until = self._until.pop(address, 0.0)
        if until <= now:
            until = now + self._seconds(address, now)
        self._until[address] = until
        self._is_new = True  # also where it was before: the filter had no room for it, then
        return until

    def _seconds(self, address: bytes, now: float) -> float:
        """Tell for how long to hold off a peer that was let go, or never held off."""
        before, forgotten_at = self._lately.pop(address, (0.0, 0.0))
        seconds = HELD_S if forgotten_at <= now else min(2 * before, LONGEST_S)
        if len(self._lately) >= REMEMBERED:
            del self._lately[next(iter(self._lately))]
        self._lately[address] = seconds, now + seconds + FORGIVEN_S
        return seconds

    def due(self) -> float | None:
        """Return when `refresh` has something to do, None for never."""
        if not self._until:
            return None
        changes_at = 0.0 if self._is_new else min(self._until.values())
        return max(changes_at, self._set_at + SETTLE_S)

    def refresh(self, now: float) -> None:
        """Let go those whose time is over, and have the kernel know."""
        due = self.due()
        if due is None or now < due:
            return
        self._until = {peer: until for peer, until in self._until.items() if until > now}
        self._is_new, self._set_at = False, now
        try:
            self._set(filter_of(reversed(self._until)) if self._until else [])
        except OSError as error:
            log.warning("status cannot hold peers off: %s", error.strerror or error)
            self._until.clear()

    def _set(self, instructions: list[Instruction]) -> None:
        if not instructions:
            self._listening.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
            return
        content = b"".join(struct.pack("=HBBI", *each) for each in instructions)
        room = ctypes.create_string_buffer(content, len(content))
        program = struct.pack("@HP", len(instructions), ctypes.addressof(room))
        self._listening.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


def packed(address: str) -> bytes:
    """Give an address as it stands in packets, in 4 or 16 bytes; nothing for what is none."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        content = socket.inet_pton(family, address.partition("%")[0])
    except (OSError, ValueError):
        return b""
    return content.removeprefix(IPV4_MAPPED)


def filter_of(peers: Iterable[bytes]) -> list[Instruction]:
    """Make a filter that drops what comes from peers, the first of them where they are too many.

    Args:
        peers: as `packed` gives them.
    """
    drop, take = Instruction(RETURN, 0, 0, 0), Instruction(RETURN, 0, 0, WHOLE)
    ipv4: list[Instruction] = []
    ipv6: list[Instruction] = []
    for peer in peers:
        words = struct.unpack(f">{len(peer) // 4}I", peer)
        rest = 2 * len(words)
        if len(ipv4) + len(ipv6) + rest + 8 > MOST_INSTRUCTIONS:
            break
        if len(words) == 1:
            ipv4 += [Instruction(JUMP_IF_EQUAL, 0, 1, words[0]), drop]
            continue
        for number, word in enumerate(words):
            place = NETWORK_HEADER + IPV6_SOURCE + 4 * number
            to_next = rest - 2 * number - 1
            ipv6 += [Instruction(LOAD_WORD, 0, 0, place)]
            ipv6 += [Instruction(JUMP_IF_EQUAL, 0, to_next, word)]
        ipv6.append(drop)
    ipv4 = [Instruction(LOAD_WORD, 0, 0, NETWORK_HEADER + IPV4_SOURCE), *ipv4, take]
    return [
        Instruction(LOAD_BYTE, 0, 0, NETWORK_HEADER),
        Instruction(SHIFT_RIGHT, 0, 0, 4),
        Instruction(JUMP_IF_EQUAL, 0, 1, 6),
        Instruction(JUMP, 0, 0, len(ipv4)),
        *ipv4,
        *ipv6,
        take,
    ]
