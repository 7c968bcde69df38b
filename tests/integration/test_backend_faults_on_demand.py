"""Faults on demand and restarts, as an agent meets them."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import grpc
import pytest
from backend_wire import beat, failure, host, ping, report, speaking_to

from rover.backend import BackendOptions, EmbeddedBackend, parse_fault
from rover.errors import BackendError


@pytest.fixture
def backend():
    with EmbeddedBackend(BackendOptions(seed=1)) as running:
        yield running


@pytest.fixture
def stub(backend):
    with speaking_to(backend) as speaking:
        yield speaking


def assert_reset(connection):
    with contextlib.suppress(ConnectionResetError):
        while connection.recv(1024):
            pass
        pytest.fail("the connection ended without a reset")


def connect_and_read(sock, port):
    sock.settimeout(5)
    sock.connect(("127.0.0.1", port))
    sock.recv(1)


def delayed_call(backend, stub, eventually, seconds):
    """Start a call and return once it is delayed; who holds it keeps it going."""
    backend.faults.delay(seconds, count=1)
    call = stub.keepAlive.future(beat(), timeout=30)
    eventually(lambda: not backend.faults.active)
    return call


def test_errors_come_by_count_and_leave_nothing_behind(backend, stub):
    backend.faults.error("RESOURCE_EXHAUSTED", "memory", count=2, method="reportProcesses")
    stub.keepAlive(beat(), timeout=5)
    for _ in range(2):
        error = failure(stub.reportProcesses, report(host()))
        assert (error.code(), error.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "memory")
    assert backend.state.snapshot().processes == ()
    stub.reportProcesses(report(host()), timeout=5)


def test_an_answer_may_be_lost_after_the_call_took_effect(backend, stub):
    backend.faults.error("UNAVAILABLE", stored=True)
    failure(stub.reportProcesses, report(host()))
    assert len(backend.state.snapshot().processes) == 1


def test_a_delay_outlasts_a_deadline_and_the_call_takes_effect_all_the_same(backend, stub):
    backend.faults.delay(0.3, count=1)
    error = failure(stub.reportProcesses, report(host()), timeout=0.05)
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    backend.state.wait_for(lambda held: held.find(process="p"))


def test_a_stop_ends_delays_at_once(eventually):
    with EmbeddedBackend() as backend, speaking_to(backend) as stub:
        call = delayed_call(backend, stub, eventually, 60)
        started = time.monotonic()
        backend.stop()
        assert time.monotonic() - started < 10
        call.exception(timeout=10)  # answered or cut off, as the grace allows
        assert call.done()


def test_a_message_limit_answers_as_proxies_do(backend, stub):
    backend.faults.limit_message_size(100)
    error = failure(stub.reportProcesses, report(host("p" * 200)))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    stub.reportProcesses(report(host()), timeout=5)


def test_a_token_can_be_required_while_it_runs(backend, stub):
    backend.faults.require_token("new")
    assert failure(stub.keepAlive, beat()).code() is grpc.StatusCode.PERMISSION_DENIED
    stub.keepAlive(beat(), timeout=5, metadata=(("authentication", "new"),))


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("fewer:items=1", lambda ids: len(ids) == 2 and all(ids)),
        ("drop-ids", lambda ids: ids == ["", "", ""]),
        ("wrong-ids", lambda ids: all(len(given) == 64 for given in ids)),
        ("reorder", lambda ids: len(ids) == 3),
    ],
)
def test_answers_are_spoiled_on_demand(line, seen):
    with (
        EmbeddedBackend(BackendOptions(faults=(parse_fault(line),))) as backend,
        speaking_to(backend) as stub,
    ):
        answer = stub.reportProcesses(report(host("a"), host("b", 2), host("c", 3)), timeout=5)
        assert seen([item.processId for item in answer.processes])


def test_refused_connections_come_back_when_the_fault_is_cleared(backend, stub):
    stub.keepAlive(beat(), timeout=5)
    backend.faults.refuse()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", backend.port), timeout=5)
    assert failure(stub.keepAlive, beat()).code() is grpc.StatusCode.UNAVAILABLE
    backend.faults.clear()
    stub.keepAlive(beat(), timeout=10, wait_for_ready=True)


def test_a_refused_port_is_still_held_against_others(backend):
    backend.faults.refuse()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", backend.port))


def test_a_port_that_was_taken_meanwhile_is_an_error_and_not_the_end(backend, stub):
    backend.faults.refuse()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", backend.port))
        other.listen()
        with pytest.raises(BackendError, match="another program listens there"):
            backend.faults.clear()
    backend.faults.clear()
    stub.keepAlive(beat(), timeout=10, wait_for_ready=True)


def test_a_reset_ends_open_connections_and_some_that_follow(backend):
    with socket.create_connection(("127.0.0.1", backend.port), timeout=5) as open_one:
        open_one.recv(1)
        backend.faults.reset(connections=1)
        assert_reset(open_one)
    with socket.socket() as next_one, pytest.raises(ConnectionResetError):
        connect_and_read(next_one, backend.port)  # the reset may come before connect() is back
    with speaking_to(backend) as stub:
        stub.keepAlive(beat(), timeout=5)


def test_a_call_under_way_sees_the_reset(backend, stub, eventually):
    call = delayed_call(backend, stub, eventually, 30)
    backend.faults.reset()
    assert call.exception(timeout=10).code() is grpc.StatusCode.UNAVAILABLE


def test_a_black_hole_carries_nothing_until_it_is_cleared(backend, stub):
    stub.keepAlive(beat(), timeout=5)
    backend.faults.black_hole()
    error = failure(stub.keepAlive, beat(ping("lost")), timeout=0.2)
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    call = stub.keepAlive.future(beat(ping("late")), timeout=20)
    assert backend.state.snapshot().processes == ()
    backend.faults.clear()
    call.result(timeout=20)
    assert backend.state.snapshot().find(process="late")


def test_a_black_hole_accepts_no_new_connection(backend):
    backend.faults.black_hole()
    with speaking_to(backend) as stub:
        call = stub.keepAlive.future(beat(), timeout=20, wait_for_ready=True)
        with pytest.raises(grpc.FutureTimeoutError):
            call.result(timeout=0.2)
        backend.faults.clear()
        call.result(timeout=20)


def test_slow_reads_hold_up_a_large_question_and_not_a_small_one(backend, stub):
    stub.keepAlive(beat(), timeout=5)
    backend.faults.slow(50_000)
    large = report(*(host("p" * 200 + str(number), number + 1) for number in range(2_000)))
    error = failure(stub.reportProcesses, large, timeout=0.5)
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    backend.faults.clear()
    stub.reportProcesses(large, timeout=20)


def test_a_slow_reader_reads_at_its_rate(backend, stub):
    stub.keepAlive(beat(), timeout=5)
    backend.faults.slow(200_000)
    request = report(host(properties={"k": "v" * 100_000}))
    started = time.monotonic()
    stub.reportProcesses(request, timeout=20)
    assert 0.4 < time.monotonic() - started < 5


def test_a_restart_with_memory_keeps_the_rows(backend, stub):
    stub.reportProcesses(report(host()), timeout=5)
    port = backend.port
    backend.restart()
    assert backend.port == port
    stub.keepAlive(beat(ping()), timeout=10, wait_for_ready=True)
    assert backend.state.snapshot().processes[0].visible


def test_a_restart_without_memory_loses_them_and_agents_notice(backend, stub):
    stub.reportProcesses(report(host()), timeout=5)
    with socket.create_connection(("127.0.0.1", backend.port), timeout=5) as open_one:
        open_one.recv(1)
        backend.restart(keep_memory=False)
        assert_reset(open_one)
    assert backend.state.snapshot().processes == ()
    assert backend.state.snapshot().calls_total == 1


def test_connections_are_refused_while_it_is_down(backend):
    restarting = threading.Thread(target=backend.restart, kwargs={"downtime": 0.5})
    restarting.start()
    refused = 0
    while restarting.is_alive():
        try:
            socket.create_connection(("127.0.0.1", backend.port), timeout=5).close()
        except ConnectionRefusedError:
            refused += 1
        except ConnectionResetError:
            pass  # it stood in line when the backend went down
        time.sleep(0.02)
    restarting.join()
    assert refused > 3
    with speaking_to(backend) as stub:
        stub.keepAlive(beat(), timeout=5)


def test_faults_outlive_a_restart(backend):
    backend.faults.refuse()
    backend.restart()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", backend.port), timeout=5)


def test_a_stop_ends_a_long_downtime():
    backend = EmbeddedBackend()
    backend.start()
    restarting = threading.Thread(target=backend.restart, kwargs={"downtime": 60})
    restarting.start()
    backend.stop()
    restarting.join(10)
    assert not restarting.is_alive()
