"""The embedded backend over real connections, as an agent meets it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time
from pathlib import Path

import grpc
import pytest
from backend_wire import beat, host, ping, pod, report
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rover._proto.service import KEEP_ALIVE, REPORT_PROCESSES, EBPFProcessServiceStub
from rover.backend import (
    BackendOptions,
    Command,
    EmbeddedBackend,
    Rule,
    Tls,
    parse_fault,
)
from rover.errors import BackendError

MIB = 1_048_576
TOKEN = "abc123"  # noqa: S105  no secret
BIG_ANSWERS = (("grpc.max_receive_message_length", -1),)
QUICK_RECONNECT = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 100),
)


@pytest.fixture
def backend():
    with EmbeddedBackend(BackendOptions(seed=1)) as running:
        yield running


@contextlib.contextmanager
def speaking_to(backend, options=QUICK_RECONNECT):
    with grpc.insecure_channel(backend.address, options=options) as channel:
        yield EBPFProcessServiceStub(channel)


@pytest.fixture
def stub(backend):
    with speaking_to(backend) as speaking:
        yield speaking


@pytest.fixture
def raw_channel(backend):
    with grpc.insecure_channel(backend.address) as channel:
        yield channel


def failure(call, *arguments, timeout=5, **more):
    with pytest.raises(grpc.RpcError) as raised:
        call(*arguments, timeout=timeout, **more)
    return raised.value


def assert_reset(connection):
    with contextlib.suppress(ConnectionResetError):
        while connection.recv(1024):
            pass
        pytest.fail("the connection ended without a reset")


def connect_and_read(sock, port):
    sock.settimeout(5)
    sock.connect(("127.0.0.1", port))
    sock.recv(1)


def test_a_report_and_a_beat_make_a_process_visible(backend, stub):
    answer = stub.reportProcesses(report(host("nginx", 42), pod("app", 43)), timeout=5)
    assert [item.WhichOneof("process") for item in answer.processes] == [
        "hostProcess",
        "k8sProcess",
    ]
    assert not stub.keepAlive(beat(ping("nginx"), ping("app")), timeout=5).commands
    held = backend.state.snapshot()
    assert all(process.visible for process in held.processes)
    assert [item.processId for item in answer.processes] == [
        process.id for process in held.processes
    ]


def test_calls_are_kept_with_size_and_status(backend, stub):
    request = report(host())
    stub.reportProcesses(request, timeout=5)
    failure(stub.keepAlive, beat(ping(layer="NOPE")))
    first, second = backend.state.snapshot().calls
    assert (first.method, first.items, first.size, first.code) == (
        "reportProcesses",
        1,
        request.ByteSize(),
        "OK",
    )
    assert (second.method, second.code) == ("keepAlive", "UNKNOWN")


def test_a_poisoned_beat_fails_as_the_servers_does(backend, stub):
    error = failure(stub.keepAlive, beat(ping("a"), ping("b", layer="NOPE"), ping("c")))
    assert error.code() is grpc.StatusCode.UNKNOWN
    assert error.details() == "Application error processing RPC"
    assert [process.entity.process for process in backend.state.snapshot().processes] == ["a"]


@pytest.mark.parametrize("path", [REPORT_PROCESSES, KEEP_ALIVE])
@pytest.mark.parametrize("rubbish", [b"\x12\x02\xff\xfe", b"\xff\xff\xff", b"\x0a\x05\x01"])
def test_bytes_that_do_not_decode_lose_the_whole_message(backend, path, rubbish):
    with grpc.insecure_channel(backend.address) as channel:
        error = failure(channel.unary_unary(path), rubbish)
    assert error.code() is grpc.StatusCode.UNKNOWN
    assert error.details() == "Application error processing RPC"
    assert backend.state.snapshot().processes == ()
    assert [violation.rule for violation in backend.violations] == [Rule.BAD_MESSAGE]


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rubbish=st.binary(max_size=200), path=st.sampled_from([REPORT_PROCESSES, KEEP_ALIVE]))
def test_any_bytes_are_answered_as_the_server_would(raw_channel, rubbish, path):
    error = raw_channel.unary_unary(path).future(rubbish, timeout=5).exception()
    answered = error and (error.code(), error.details())
    assert answered in (None, (grpc.StatusCode.UNKNOWN, "Application error processing RPC"))


def test_invalid_utf_8_deep_inside_loses_the_good_items_too(backend):
    good = report(host("good")).SerializeToString()
    bad = report(host("bad#")).SerializeToString().replace(b"bad#", b"bad\xff")
    with grpc.insecure_channel(backend.address) as channel:
        failure(channel.unary_unary(REPORT_PROCESSES), good + bad)
    assert backend.state.snapshot().processes == ()


def test_a_method_the_backend_does_not_have_is_unimplemented(backend):
    with grpc.insecure_channel(backend.address) as channel:
        error = failure(channel.unary_unary("/skywalking.v3.EBPFProfilingService/queryTasks"), b"")
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


def test_49_mib_pass_and_51_end_in_cancelled(backend):
    def question(size):
        item = host(properties={"k": "v" * (size * MIB // 1_100)})
        return report(*[item] * 1_100)

    with speaking_to(backend, BIG_ANSWERS) as stub:
        stub.reportProcesses(question(49), timeout=60)
        error = failure(stub.reportProcesses, question(51), timeout=60)
    assert error.code() is grpc.StatusCode.CANCELLED
    assert [call.code for call in backend.state.snapshot().calls] == ["OK", "CANCELLED"]


def test_an_answer_is_as_large_as_its_question(backend):
    request = report(*(host("p" * 400 + str(number), number + 1) for number in range(12_000)))
    with speaking_to(backend, ()) as stub:
        error = failure(stub.reportProcesses, request, timeout=30)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert len(backend.state.snapshot().processes) == 12_000


def test_a_token_is_needed_bare_and_under_its_key():
    with EmbeddedBackend(BackendOptions(token=TOKEN)) as backend, speaking_to(backend) as stub:
        for metadata in (
            (),
            (("authentication", f"Bearer {TOKEN}"),),
            (("authentication", "other"),),
            (("authorization", TOKEN),),
        ):
            error = failure(stub.keepAlive, beat(), metadata=metadata)
            assert error.code() is grpc.StatusCode.PERMISSION_DENIED
        stub.keepAlive(beat(), timeout=5, metadata=(("authentication", TOKEN),))


def test_a_port_that_is_taken_is_an_error_that_says_what_to_do(backend):
    with pytest.raises(BackendError, match=rf"127\.0\.0\.1:{backend.port}: .* choose another port"):
        EmbeddedBackend(BackendOptions(port=backend.port)).start()


def test_an_address_of_another_host_is_an_error_that_says_what_to_do():
    with pytest.raises(BackendError, match=r"192\.0\.2\.1:0: .*; this host has no such address"):
        EmbeddedBackend(BackendOptions(host="192.0.2.1")).start()


def test_a_name_that_does_not_resolve_is_an_error_that_says_what_to_do():
    with pytest.raises(BackendError, match=r"nowhere\.invalid:0: .*; give another address"):
        EmbeddedBackend(BackendOptions(host="nowhere.invalid")).start()


def test_it_listens_on_ipv6():
    with EmbeddedBackend(BackendOptions(host="::1")) as backend, speaking_to(backend) as stub:
        assert backend.address == f"[::1]:{backend.port}"
        stub.keepAlive(beat(), timeout=5)


def test_the_port_is_free_again_after_it_stopped():
    with EmbeddedBackend() as backend:
        port = backend.port
    with EmbeddedBackend(BackendOptions(port=port)):
        pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_what_was_stored_can_be_read_after_it_stopped():
    with EmbeddedBackend() as backend, speaking_to(backend) as stub:
        stub.reportProcesses(report(host()), timeout=5)
    assert len(backend.state.snapshot().processes) == 1


def test_nothing_is_left_after_it_stopped(eventually):
    def threads():
        return {thread.name for thread in threading.enumerate() if "rover-backend" in thread.name}

    def descriptors():
        return len(list(Path("/proc/self/fd").iterdir()))

    def once():
        with EmbeddedBackend(BackendOptions(control_port=0)) as backend:
            with speaking_to(backend) as stub:
                stub.keepAlive(beat(ping()), timeout=5)
            backend.restart()

    once()
    before = descriptors()
    for _ in range(5):
        once()
    assert eventually(lambda: not threads())
    assert eventually(lambda: descriptors() <= before)


def test_scripted_commands_come_with_the_beats(backend, stub):
    backend.command(Command("ProfilingTask", {"id": "7"}), beats=2)
    told = [stub.keepAlive(beat(ping()), timeout=5).commands for _ in range(3)]
    assert [[command.command for command in commands] for commands in told] == [
        ["ProfilingTask"],
        ["ProfilingTask"],
        [],
    ]
    assert (told[0][0].args[0].key, told[0][0].args[0].value) == ("id", "7")


def test_errors_strike_by_count_and_leave_nothing_behind(backend, stub):
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


def delayed_call(backend, stub, eventually, seconds):
    """Start a call and return once the delay has struck it; who holds it keeps it going."""
    backend.faults.delay(seconds, count=1)
    call = stub.keepAlive.future(beat(), timeout=30)
    eventually(lambda: not backend.faults.active)
    return call


def test_a_stop_ends_delays_at_once(eventually):
    with EmbeddedBackend() as backend, speaking_to(backend) as stub:
        call = delayed_call(backend, stub, eventually, 60)
        started = time.monotonic()
        backend.stop()
        assert time.monotonic() - started < 10
        assert call.done() or call.exception(timeout=10)


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


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A CA, a server certificate for localhost and a client certificate, as PEM files."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments):
        subprocess.run(("openssl", *arguments), cwd=folder, check=True, capture_output=True)

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for authority in ("ca", "stranger"):
        openssl(
            "req", "-x509", *new, "-days", "2", "-subj", f"/CN={authority}",
            "-keyout", f"{authority}.key", "-out", f"{authority}.pem",
        )  # fmt: skip
    for name, authority in (("server", "ca"), ("client", "ca"), ("foreign", "stranger")):
        openssl(
            "req", *new, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr"
        )
        Path(folder, "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
        openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey",
            f"{authority}.key", "-CAcreateserial", "-days", "2", "-extfile", "names",
            "-out", f"{name}.pem",
        )  # fmt: skip
    return folder


def secure(backend, certificates, *, authority="ca", client=""):
    def read(name):
        return Path(certificates, name).read_bytes()

    pair = (read(f"{client}.key"), read(f"{client}.pem")) if client else (None, None)
    credentials = grpc.ssl_channel_credentials(read(f"{authority}.pem"), *pair)
    return grpc.secure_channel(backend.address, credentials, options=QUICK_RECONNECT)


def test_tls_serves_those_who_trust_its_certificate(certificates):
    tls = Tls(certificates / "server.pem", certificates / "server.key")
    with EmbeddedBackend(BackendOptions(tls=tls)) as backend:
        with secure(backend, certificates) as channel:
            EBPFProcessServiceStub(channel).keepAlive(beat(), timeout=10)
        with secure(backend, certificates, authority="stranger") as channel:
            error = failure(EBPFProcessServiceStub(channel).keepAlive, beat())
            assert error.code() is grpc.StatusCode.UNAVAILABLE
        with speaking_to(backend) as stub:
            assert failure(stub.keepAlive, beat()).code() is grpc.StatusCode.UNAVAILABLE


def test_mutual_tls_serves_those_with_a_certificate_of_its_authority(certificates):
    tls = Tls(certificates / "server.pem", certificates / "server.key", certificates / "ca.pem")
    with EmbeddedBackend(BackendOptions(tls=tls)) as backend:
        with secure(backend, certificates, client="client") as channel:
            EBPFProcessServiceStub(channel).keepAlive(beat(), timeout=10)
        for client in ("", "foreign"):
            with secure(backend, certificates, client=client) as channel:
                error = failure(EBPFProcessServiceStub(channel).keepAlive, beat())
                assert error.code() is grpc.StatusCode.UNAVAILABLE


def test_a_restart_may_bring_new_certificates(certificates):
    with EmbeddedBackend() as backend:
        backend.restart(tls=Tls(certificates / "server.pem", certificates / "server.key"))
        with secure(backend, certificates) as channel:
            EBPFProcessServiceStub(channel).keepAlive(beat(), timeout=10)


@pytest.mark.parametrize(
    ("certificate", "key", "client_ca"),
    [
        ("missing.pem", "server.key", None),
        ("server.pem", "client.key", None),
        ("names", "server.key", None),
        ("server.pem", "server.key", "names"),
    ],
)
def test_certificates_that_cannot_be_used_are_named(certificates, certificate, key, client_ca):
    tls = Tls(
        certificates / certificate,
        certificates / key,
        certificates / client_ca if client_ca else None,
    )
    with pytest.raises(BackendError, match=f"{certificate}.*; give readable PEM files"):
        EmbeddedBackend(BackendOptions(tls=tls)).start()
