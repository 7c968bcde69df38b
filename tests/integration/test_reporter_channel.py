"""What the session relies on of grpc itself: states, deadlines, proxies, resting connections."""

from __future__ import annotations

import select
import socket
import threading
import time

import pytest
from reporter_rig import announced, beats_of, eventually, report, reporting, shown

from rover._proto.service import KEEP_ALIVE
from rover.backend import EmbeddedBackend
from rover.config.settings import BackendSettings, DiscoverySettings
from rover.reporter import channel, host_ip
from rover.reporter.channel import GrpcDialer
from rover.reporter.failures import CallError, FailureKind

CREW = [report(number) for number in range(3)]


@pytest.fixture
def backend():
    with EmbeddedBackend() as running:
        yield running
        broken = [str(violation) for violation in running.violations]
    assert not broken


@pytest.fixture
def connection(backend):
    dialer = GrpcDialer(BackendSettings(addr=backend.address), 20)
    opened = dialer.open(dialer.endpoints[0])
    yield opened
    opened.close()


def test_a_connection_stands_from_its_first_answer_until_the_server_ends_it(backend, connection):
    assert not connection.stands
    assert connection.call(KEEP_ALIVE, b"\x12\x01a", 5) == b""
    assert connection.stands
    backend.restart()
    eventually(lambda: not connection.stands)
    with pytest.raises(CallError, match="closed") as failure:
        connection.call(KEEP_ALIVE, b"", 5)
    assert failure.value.kind is FailureKind.AWAY


@pytest.mark.usefixtures("backend")
def test_a_call_aside_needs_a_connection_that_stands(connection):
    with pytest.raises(CallError, match="not connected") as failure:
        connection.call_aside(KEEP_ALIVE, [b""], 5)
    assert failure.value.kind is FailureKind.AWAY
    connection.call(KEEP_ALIVE, b"\x12\x01a", 5)
    assert connection.call_aside(KEEP_ALIVE, iter([b"\x12\x01a"]), 5) == b""


def test_a_call_aside_under_way_is_ended_by_another_thread(backend, connection):
    connection.call(KEEP_ALIVE, b"\x12\x01a", 5)
    backend.faults.delay(20)
    timer = threading.Timer(0.2, connection.cancel_aside, [[KEEP_ALIVE]])
    timer.start()
    began = time.monotonic()
    with pytest.raises(CallError, match=r"stopping|CANCELLED"):
        connection.call_aside(KEEP_ALIVE, [b"\x12\x01a"], 15)
    assert time.monotonic() - began < 10
    timer.join()
    backend.faults.clear()


def test_the_size_of_a_stream_is_that_of_its_largest_message(backend, connection):
    connection.call(KEEP_ALIVE, b"\x12\x01a", 5)
    backend.faults.limit_message_size(5_000, "CANCELLED")
    with pytest.raises(CallError) as failure:
        connection.call_aside(KEEP_ALIVE, (bytes([18, 0xF0, 0x3F]) + b"a" * 8176 for _ in "1"), 5)
    assert failure.value.kind is FailureKind.TOO_LARGE


def test_a_call_ends_at_its_deadline(backend, connection):
    connection.call(KEEP_ALIVE, b"\x12\x01a", 5)
    backend.faults.black_hole()
    began = time.monotonic()
    with pytest.raises(CallError) as failure:
        connection.call(KEEP_ALIVE, b"\x12\x01a", 0.3)
    assert failure.value.kind is FailureKind.TIMEOUT
    assert 0.2 < time.monotonic() - began < 2


def test_closing_from_another_thread_ends_a_call(backend, connection):
    connection.call(KEEP_ALIVE, b"\x12\x01a", 5)
    backend.faults.black_hole()
    threading.Timer(0.2, connection.close).start()
    began = time.monotonic()
    with pytest.raises(CallError):
        connection.call(KEEP_ALIVE, b"\x12\x01a", 30)
    assert time.monotonic() - began < 5
    with pytest.raises(CallError):
        connection.call(KEEP_ALIVE, b"", 1)
    assert not connection.stands


class Between:
    """A TCP relay: an HTTP proxy where asked, and one that closes what rests too long."""

    def __init__(self, to, *, rest=None, http=False):
        self.to = to
        self.rest = rest
        self.http = http
        self.asked = []
        self.closed = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        host, _, port = self.to.rpartition(":")
        with client, socket.create_connection((host, int(port))) as server:
            if self.http:
                head = b""
                while b"\r\n\r\n" not in head:
                    head += client.recv(4096)
                self.asked.append(head.split(b"\r\n")[0].decode())
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            while True:
                ready, _, _ = select.select([client, server], [], [], self.rest)
                for end in ready:
                    content = end.recv(65536)
                    if not content:
                        return
                    (server if end is client else client).sendall(content)
                if not ready:
                    self.closed += 1
                    return

    def close(self):
        self.listener.close()


@pytest.fixture
def between(backend):
    relays = []

    def make(**options):
        relays.append(Between(backend.address, **options))
        return relays[-1]

    yield make
    for relay in relays:
        relay.close()


def test_a_proxy_from_the_environment_is_asked_for_the_way(backend, between, monkeypatch):
    relay = between(http=True)
    monkeypatch.setenv("HTTPS_PROXY", f"http://{relay.address}")
    with reporting("oap.invalid:11800") as reporter:
        reporter.publish(announced(*CREW))
        backend.state.wait_for(shown(0, 1, 2))
    assert relay.asked[0] == "CONNECT oap.invalid:11800 HTTP/1.1"


def test_a_proxy_is_not_asked_for_the_loopback(backend, between, monkeypatch):
    relay = between(http=True)
    monkeypatch.setenv("https_proxy", f"http://{relay.address}")
    with reporting(backend.address) as reporter:
        reporter.publish(announced(*CREW))
        backend.state.wait_for(shown(0, 1, 2))
    assert not relay.asked


def test_a_proxy_that_closes_resting_connections_costs_no_beat(backend, between):
    relay = between(rest=0.35)
    pacing = DiscoverySettings(heartbeat_period=0.5, properties_report_period=1000)
    with reporting(relay.address, pacing, check_period=5) as reporter:
        reporter.publish(announced(*CREW))
        backend.state.wait_for(lambda held: beats_of(held) >= 20 and relay.closed >= 15, 30)
        assert not reporter.session.last_error
    assert all(row.reports <= 12 for row in backend.state.snapshot().processes)


def test_the_hosts_address_is_that_of_the_interface_towards_the_backend():
    dialer = GrpcDialer(BackendSettings(addr="localhost:11800"), 20)
    assert dialer.host_ip(dialer.endpoints[0]) == host_ip.host_ip(dialer.endpoints[0])
    told = GrpcDialer(BackendSettings(), 20, host_ip="192.0.2.77")
    assert told.host_ip(told.endpoints[0]) == "192.0.2.77"


def test_a_resolver_that_hangs_holds_up_no_beat(backend, monkeypatch):
    hanging, asked = threading.Event(), threading.Event()
    resolve = socket.getaddrinfo

    def may_hang(*arguments, **options):
        if hanging.is_set():
            asked.set()
            hanging_ended.wait(30)
        return resolve(*arguments, **options)

    hanging_ended = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", may_hang)
    pacing = DiscoverySettings(heartbeat_period=0.2, properties_report_period=2)
    try:
        with reporting(backend.address, pacing) as reporter:
            reporter.publish(announced(*CREW))
            before = backend.state.wait_for(lambda held: beats_of(held) >= 5)
            hanging.set()
            assert asked.wait(5)
            now = beats_of(backend.state.snapshot())
            held = backend.state.wait_for(lambda held: beats_of(held) >= now + 30, 20)
        assert not hanging_ended.is_set()
        addresses = {row.properties["host_ip"] for row in (*before.processes, *held.processes)}
        assert addresses == {host_ip.host_ip(host_ip.NOWHERE)}
    finally:
        hanging_ended.set()


def test_pings_stay_below_what_servers_put_up_with():
    for heartbeat in (1, 20, 60, 600):
        pings_between_beats = heartbeat / max(
            channel.KEEPALIVE, heartbeat * channel.KEEPALIVE_SHARE
        )
        assert pings_between_beats < 2
