"""The control interface over HTTP, as curl or a test in another language uses it."""

from __future__ import annotations

import http.client
import json
import socket

import grpc
import pytest
from backend_wire import beat, host, ping, report

from rover._proto.service import EBPFProcessServiceStub
from rover.backend import BackendOptions, EmbeddedBackend
from rover.errors import BackendError


@pytest.fixture
def backend():
    with EmbeddedBackend(BackendOptions(control_port=0)) as running:
        yield running


@pytest.fixture
def stub(backend):
    with grpc.insecure_channel(backend.address) as channel:
        yield EBPFProcessServiceStub(channel)


@pytest.fixture
def ask(backend):
    def asking(method, path, question=None, **headers):
        host_name, _, port = backend.control_address.partition(":")
        connection = http.client.HTTPConnection(host_name, int(port), timeout=10)
        body = question if isinstance(question, bytes | None) else json.dumps(question)
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        told = json.loads(answer.read())
        connection.close()
        return answer.status, told

    return asking


def test_it_says_where_the_backend_is_and_what_can_be_asked(backend, ask):
    status, told = ask("GET", "/")
    assert (status, told["address"]) == (200, backend.address)
    assert "POST /faults" in told["routes"]


def test_the_state_is_given_as_python_gives_it(backend, stub, ask):
    stub.reportProcesses(report(host("nginx", 42)), timeout=5)
    stub.keepAlive(beat(ping("nginx")), timeout=5)
    status, told = ask("GET", "/state")
    assert (status, told) == (200, backend.state.snapshot().as_dict())
    assert told["services"][0]["instances"][0]["processes"][0]["pid"] == 42


def test_violations_are_listed(stub, ask):
    stub.reportProcesses(report(host(pid=0)), timeout=5)
    status, told = ask("GET", "/violations")
    assert (status, told["violations_total"]) == (200, 1)
    assert told["violations"][0]["rule"] == "BAD_PID"


def test_faults_are_added_listed_and_cleared(stub, ask):
    fault = {"kind": "error", "code": "ABORTED", "count": 5}
    assert ask("POST", "/faults", fault)[0] == 200
    with pytest.raises(grpc.RpcError) as raised:
        stub.keepAlive(beat(), timeout=5)
    assert raised.value.code() is grpc.StatusCode.ABORTED
    ask("POST", "/faults", {"kind": "delay", "seconds": 0})
    kinds = [one["kind"] for one in ask("GET", "/faults")[1]["faults"]]
    assert kinds == ["error", "delay"]
    assert [one["kind"] for one in ask("DELETE", "/faults", {"kind": "error"})[1]["faults"]] == [
        "delay"
    ]
    assert ask("DELETE", "/faults") == (200, {"faults": []})
    stub.keepAlive(beat(), timeout=5)


def test_clearing_a_kind_that_is_not_there_leaves_the_others(ask):
    ask("POST", "/faults", {"kind": "reorder"})
    assert len(ask("DELETE", "/faults", {"kind": "error"})[1]["faults"]) == 1


def test_a_black_hole_does_not_reach_the_control_interface(ask):
    ask("POST", "/faults", {"kind": "black-hole"})
    assert ask("DELETE", "/faults")[0] == 200


def test_a_restart_may_lose_the_memory(backend, stub, ask):
    stub.reportProcesses(report(host()), timeout=5)
    status, told = ask("POST", "/restart", {"keep_memory": False, "downtime": 0.05})
    assert (status, told) == (200, {"address": backend.address})
    assert backend.state.snapshot().processes == ()
    stub.keepAlive(beat(), timeout=10, wait_for_ready=True)


def test_commands_are_scripted(stub, ask):
    question = {"commands": [{"name": "task", "args": {"id": 7}}], "beats": 1}
    assert ask("POST", "/commands", question) == (200, {"scripted": 1})
    (command,) = stub.keepAlive(beat(ping()), timeout=5).commands
    assert (command.command, command.args[0].value) == ("task", "7")


@pytest.mark.parametrize(
    ("method", "path", "question", "complaint"),
    [
        ("POST", "/faults", {"kind": "explode"}, "fault 'explode' is unknown"),
        ("POST", "/faults", {}, "fault '' is unknown"),
        ("POST", "/faults", {"kind": "delay"}, "needs seconds"),
        ("POST", "/faults", {"kind": "error", "rate": [1]}, "rate is float"),
        ("DELETE", "/faults", {"kind": "explode"}, "fault 'explode' is unknown"),
        ("DELETE", "/faults", {"kind": [1]}, "is unknown"),
        ("POST", "/restart", {"keep_memory": "no"}, "keep_memory is true or false, not 'no'"),
        ("POST", "/restart", {"downtime": -1}, "downtime is a number from 0 to 3600, not -1"),
        ("POST", "/restart", {"when": "now"}, "unknown: when"),
        ("POST", "/commands", {"commands": "x"}, "commands is a list"),
        ("POST", "/commands", {"commands": [1]}, "a command is an object"),
        ("POST", "/commands", {"beats": True}, "beats is a number"),
        ("POST", "/faults", [], "not a JSON object"),
        ("POST", "/faults", b"{", "the question is not JSON"),
        ("POST", "/faults", b"[" * 100_000, "the question is not JSON"),
    ],
)
def test_a_question_that_makes_no_sense_is_answered_with_what_is_wrong(
    ask, method, path, question, complaint
):
    status, told = ask(method, path, question)
    assert status == 400
    assert complaint in told["error"]


def test_a_path_that_is_not_there_names_those_that_are(ask):
    status, told = ask("GET", "/nothing")
    assert status == 404
    assert "GET /state" in told["error"]
    assert ask("DELETE", "/state")[0] == 404


def test_a_question_that_is_too_large_is_not_read(ask):
    status, told = ask("POST", "/faults", None, **{"Content-Length": "99999999"})
    assert (status, told) == (413, {"error": "a question has at most 1048576 bytes"})


def test_a_length_that_is_no_number_is_refused(ask):
    assert ask("POST", "/faults", None, **{"Content-Length": "-1"})[0] == 400


def test_a_page_that_was_led_here_by_another_name_is_refused(ask):
    assert ask("GET", "/state", None, Host="attacker.example:80")[0] == 403


def test_a_port_that_is_taken_is_an_error_and_leaves_nothing(backend):
    taken = int(backend.control_address.rpartition(":")[2])
    other = EmbeddedBackend(BackendOptions(control_port=taken))
    with pytest.raises(BackendError, match=rf"127\.0\.0\.1:{taken}.*another program listens"):
        other.start()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", other.port), timeout=5)


def test_without_control_there_is_no_address():
    with EmbeddedBackend() as backend:
        assert backend.control_address == ""
