"""The embedded backend over real connections, as an agent meets it."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import grpc
import pytest
from backend_wire import beat, failure, host, ping, pod, report, speaking_to
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rover._proto.service import KEEP_ALIVE, REPORT_PROCESSES
from rover.backend import BackendOptions, Command, EmbeddedBackend, Rule
from rover.errors import BackendError

MIB = 1_048_576
TOKEN = "abc123"  # noqa: S105  no secret
BIG_ANSWERS = (("grpc.max_receive_message_length", -1),)


@pytest.fixture
def backend():
    with EmbeddedBackend(BackendOptions(seed=1)) as running:
        yield running


@pytest.fixture
def stub(backend):
    with speaking_to(backend) as speaking:
        yield speaking


@pytest.fixture
def raw_channel(backend):
    with grpc.insecure_channel(backend.address) as channel:
        yield channel


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
        error = failure(channel.unary_unary("/skywalking.v3.MeterReportService/collect"), b"")
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
