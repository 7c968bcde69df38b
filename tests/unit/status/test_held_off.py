"""Peers that flood are held off by the kernel."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.status import held_off
from rover.status.held_off import (
    FORGIVEN_S,
    HELD_S,
    LONGEST_S,
    MOST_INSTRUCTIONS,
    REMEMBERED,
    HeldOff,
    filter_of,
    packed,
)

ANY = st.ip_addresses()
HEADER = {4: (12, b"\x45"), 6: (8, b"\x60")}
"""Where the source's address is in an IP header, and how that begins."""


def packet_from(peer: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bytes:
    place, first = HEADER[peer.version]
    return first.ljust(place, b"\x7f") + peer.packed + bytes(32)


def takes(instructions: list[held_off.Instruction], packet: bytes) -> bool:
    """Run a filter as the kernel does."""
    at, held = 0, 0
    while True:
        code, if_true, if_false, value = instructions[at]
        at += 1
        place = value - held_off.NETWORK_HEADER
        match code:
            case held_off.LOAD_BYTE:
                held = packet[place]
            case held_off.LOAD_WORD:
                held = int.from_bytes(packet[place : place + 4], "big")
            case held_off.SHIFT_RIGHT:
                held >>= value
            case held_off.JUMP:
                at += value
            case held_off.JUMP_IF_EQUAL:
                at += if_true if held == value else if_false
            case held_off.RETURN:
                return value != 0


@given(st.lists(ANY, max_size=90, unique=True), ANY)
def test_who_is_held_off_is_dropped_and_nobody_else(peers, other):
    instructions = filter_of(peer.packed for peer in peers)
    assert not any(takes(instructions, packet_from(peer)) for peer in peers)
    assert takes(instructions, packet_from(other)) == (other not in peers)


@pytest.mark.parametrize(
    ("told", "in_packets"),
    [
        ("10.0.0.9", "10.0.0.9"),
        ("::ffff:10.0.0.9", "10.0.0.9"),
        ("2001:db8::9", "2001:db8::9"),
        ("fe80::9%eth0", "fe80::9"),
    ],
)
def test_an_address_is_taken_as_packets_have_it(told: str, in_packets: str):
    assert packed(told) == ipaddress.ip_address(in_packets).packed


@given(st.text())
def test_what_is_no_address_is_none(text: str):
    assert len(packed(text)) in {0, 4, 16}


def test_of_more_than_a_filter_has_room_for_the_latest_are_held_off():
    peers = [ipaddress.ip_address(number) for number in range(2**32 - 1_000, 2**32)]
    instructions = filter_of(peer.packed for peer in peers)
    assert len(instructions) <= MOST_INSTRUCTIONS
    assert not takes(instructions, packet_from(peers[0]))
    assert takes(instructions, packet_from(peers[-1]))


@pytest.fixture(params=["127.0.0.1", "::"])
def listening(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.create_server(
        (request.param, 0), family=family, dualstack_ipv6=family is socket.AF_INET6
    ) as listening:
        yield listening


def gets_in(listening: socket.socket, source: str, within: float = 0.3) -> bool:
    target = "::1" if ":" in source else "127.0.0.1"
    try:
        socket.create_connection((target, listening.getsockname()[1]), within, (source, 0)).close()
    except TimeoutError:
        return False
    listening.accept()[0].close()
    return True


def test_a_held_off_peer_does_not_get_in_before_its_time_is_over(listening: socket.socket):
    held = HeldOff(listening)
    now = time.monotonic()
    held.hold("127.0.0.2", now)
    assert gets_in(listening, "127.0.0.2"), "several are told to the kernel at once"
    held.refresh(held.due())
    assert not gets_in(listening, "127.0.0.2")
    assert gets_in(listening, "127.0.0.3")
    held.refresh(now + HELD_S - 0.1)
    assert not gets_in(listening, "127.0.0.2")
    held.refresh(now + HELD_S + 0.2)
    assert gets_in(listening, "127.0.0.2")
    assert held.due() is None


def held_for(held: HeldOff, now: float) -> float:
    """Hold a peer off that floods for as long as it can; tell for how many seconds."""
    until = held.hold("127.0.0.2", now)
    assert held.hold("127.0.0.2", now + 0.05) == until, "it has some connections under way"
    return until - now


def test_who_goes_on_when_it_is_let_go_is_held_off_for_longer_each_time(listening):
    held, now = HeldOff(listening), 100.0
    times = []
    for _ in range(6):
        times.append(held_for(held, now))
        now += times[-1] + 1.0
        held.refresh(now)
    assert times == [HELD_S, 2 * HELD_S, 4 * HELD_S, LONGEST_S, LONGEST_S, LONGEST_S]
    assert held_for(held, now + FORGIVEN_S) == HELD_S


def test_who_comes_while_the_filter_has_no_room_for_it_gets_room(listening):
    held = HeldOff(listening)
    held.hold("127.0.0.2", 1.0)
    for number in range(MOST_INSTRUCTIONS):
        held.hold(str(ipaddress.ip_address(0x0A000000 + number)), 1.0)
    held.refresh(1.0)
    assert gets_in(listening, "127.0.0.2")
    held.hold("127.0.0.2", 1.5)
    held.refresh(held.due())
    assert not gets_in(listening, "127.0.0.2")


def test_each_is_let_go_when_its_own_time_is_over(listening):
    held = HeldOff(listening)
    held.hold("127.0.0.2", 0.0)
    held.refresh(HELD_S + 1)
    held.hold("127.0.0.2", HELD_S + 1)
    held.hold("127.0.0.3", HELD_S + 2)
    held.refresh(HELD_S + 2)
    assert held.due() == 2 * HELD_S + 2
    held.refresh(2 * HELD_S + 2)
    assert len(held) == 1
    assert gets_in(listening, "127.0.0.3")
    assert not gets_in(listening, "127.0.0.2")


def test_so_many_are_remembered_after_they_were_let_go(listening):
    held = HeldOff(listening)
    for number in range(REMEMBERED + 1):
        held.hold(str(ipaddress.ip_address(0x0A000000 + number)), 0.0)
    held.refresh(HELD_S + 1)
    assert held.hold("10.0.0.0", HELD_S + 1) == 2 * HELD_S + 1, "the one longest known"
    assert held.hold("10.0.0.9", HELD_S + 1) == 3 * HELD_S + 1


def test_peers_of_ipv6_and_mapped_ones_are_held_off_as_well():
    family = socket.AF_INET6
    with socket.create_server(("::", 0), family=family, dualstack_ipv6=True) as listening:
        held = HeldOff(listening)
        for peer in ("::ffff:127.0.0.2", "::1", "no address", None):
            held.hold(peer, 1.0)
        assert len(held) == 2
        held.refresh(1.0)
        assert not gets_in(listening, "::1")
        assert not gets_in(listening, "127.0.0.2")
        assert gets_in(listening, "127.0.0.3")


def test_where_the_kernel_takes_no_filter_nobody_is_held_off(caplog):
    left, right = socket.socketpair()
    with left, right:
        left.close()
        held = HeldOff(left)
        held.hold("127.0.0.2", 1.0)
        held.refresh(1.0)
        assert len(held) == 0
        assert held.due() is None
    assert "cannot hold peers off" in caplog.text
