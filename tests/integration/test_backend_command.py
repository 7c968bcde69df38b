"""`rover backend` as a user runs it: a process of its own, signals, pipes and a terminal."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time

import grpc
import pytest
from backend_wire import beat, host, ping, report
from terminal import Terminal

from rover._proto.service import EBPFProcessServiceStub

COMMAND = (sys.executable, "-W", "error", "-c", "from rover.cli import main; main()", "backend")


class Running:
    """`rover backend` on a free port, with what it said so far."""

    def __init__(self, process):
        self.process = process
        where = process.stderr.readline()
        self.address = re.search(r"listens on (\S+?)(,|$)", where)[1]
        control = re.search(r"http://\S+", where)
        self.control = control and control[0]

    @contextlib.contextmanager
    def speak(self):
        with grpc.insecure_channel(self.address) as channel:
            yield EBPFProcessServiceStub(channel)

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err


@pytest.fixture
def start(spawn):
    def starting(*options):
        process = spawn(
            *COMMAND, "--port", "0", *options,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        return Running(process)

    return starting


def run(*options):
    return subprocess.run(
        (*COMMAND, *options), capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_a_line_a_change_and_ends_cleanly_on_a_signal(start, number):
    running = start()
    with running.speak() as stub:
        stub.reportProcesses(report(host("nginx", 42, service="web", instance="h")), timeout=5)
        assert running.process.stdout.readline() == "+ web/h/nginx pid=42\n"
    assert running.end(number) == (0, "", "")


@pytest.mark.parametrize("options", [(), ("--watch",)], ids=["lines", "watch"])
def test_it_ends_though_nobody_reads_what_it_prints(start, options):
    running = start(*options)
    many = [host(f"worker-{number}", number, service="x" * 40) for number in range(1, 3_000)]
    with running.speak() as stub, contextlib.suppress(grpc.RpcError):
        stub.reportProcesses(report(*many), timeout=2)  # a slow reader slows calls down
        time.sleep(1)
    began = time.monotonic()
    running.process.terminate()
    assert running.process.wait(20) == 0
    assert time.monotonic() - began < 5
    assert len(running.process.stdout.read()) > 40_000


def test_a_process_without_beats_is_told_gone_after_the_time_given(start):
    running = start("--gone-after", "0.3")
    with running.speak() as stub:
        stub.reportProcesses(report(host("nginx", 42)), timeout=5)
        lines = [running.process.stdout.readline() for _ in range(2)]
    assert lines == ["+ s/i/nginx pid=42\n", "- s/i/nginx pid=42\n"]


def test_json_prints_all_it_holds_once_at_the_end(start):
    running = start("--json")
    with running.speak() as stub:
        stub.reportProcesses(report(host("nginx", 42)), timeout=5)
        stub.keepAlive(beat(ping("nginx")), timeout=5)
    code, out, _ = running.end()
    told = json.loads(out)
    assert code == 0
    assert told["services"][0]["instances"][0]["processes"][0]["visible"]


def test_watch_prints_each_change_as_a_line_of_json(start):
    running = start("--watch")
    with running.speak() as stub:
        stub.reportProcesses(report(host("a", 1), host("b", 2)), timeout=5)
        stub.keepAlive(beat(ping("a")), timeout=5)
    told = [json.loads(running.process.stdout.readline()) for _ in range(3)]
    assert [(one["change"], one["name"]) for one in told] == [
        ("added", "a"),
        ("added", "b"),
        ("updated", "a"),
    ]
    assert running.end() == (0, "", "")


def test_sigusr1_prints_what_it_holds_at_once(start):
    running = start("--json")
    for _ in range(2):
        running.process.send_signal(signal.SIGUSR1)
        assert json.loads(running.process.stdout.readline())["services"] == []
    assert running.end()[0] == 0


def test_strict_ends_with_the_list_of_broken_rules(start):
    running = start("--strict")
    with running.speak() as stub:
        stub.reportProcesses(report(host(pid=0), host("b", layer="NOPE")), timeout=5)
    code, _, err = running.end()
    assert code == 1
    assert err.splitlines() == [
        "rover: rules of the protocol were broken 2 times:",
        "- BAD_PID: a pid that no process has: pid 0 (reportProcesses, OS_LINUX / s / i / p)",
        (
            "- BAD_LAYER: a layer that fails the beat, or UNDEFINED, which is never listed: "
            "layer 'NOPE' (reportProcesses, NOPE / s / i / b)"
        ),
    ]


def test_strict_ends_well_where_no_rule_was_broken(start):
    running = start("--strict")
    with running.speak() as stub:
        stub.reportProcesses(report(host()), timeout=5)
    assert running.end()[0] == 0


def test_faults_are_in_force_from_the_start(start):
    running = start("--fault", "error:code=ABORTED,count=1", "--fault", "delay:seconds=0")
    with running.speak() as stub:
        with pytest.raises(grpc.RpcError) as raised:
            stub.keepAlive(beat(), timeout=5)
        stub.keepAlive(beat(), timeout=5)
    assert raised.value.code() is grpc.StatusCode.ABORTED


def test_faults_come_and_go_over_the_control_interface(start):
    running = start("--control", "0")
    control = http.client.HTTPConnection(running.control.removeprefix("http://"), timeout=5)
    control.request("POST", "/faults", '{"kind": "error", "code": "ABORTED"}')
    assert json.load(control.getresponse())["faults"][0]["code"] == "ABORTED"
    control.close()
    with running.speak() as stub, pytest.raises(grpc.RpcError):
        stub.keepAlive(beat(), timeout=5)
    assert running.end()[0] == 0


@pytest.mark.parametrize("way", ["option", "file"])
def test_a_token_is_required(start, tmp_path, way):
    tmp_path.joinpath("token").write_text("s3cret\n", encoding="utf-8")
    running = start(
        *(("--token", "s3cret") if way == "option" else ("--token-file", tmp_path / "token"))
    )
    with running.speak() as stub:
        with pytest.raises(grpc.RpcError) as raised:
            stub.keepAlive(beat(), timeout=5)
        assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED
        stub.keepAlive(beat(), timeout=5, metadata=(("authentication", "s3cret"),))


def test_layers_of_newer_servers_are_known_on_demand(start):
    with start("--newer-layers").speak() as stub:
        stub.keepAlive(beat(ping(layer="KONG")), timeout=5)
    with start().speak() as stub, pytest.raises(grpc.RpcError):
        stub.keepAlive(beat(ping(layer="KONG")), timeout=5)


@pytest.mark.parametrize(
    ("options", "code", "complaint"),
    [
        (("--fault", "explode"), 2, "fault 'explode' is unknown; there are: refuse"),
        (("--fault", "delay"), 2, "fault 'delay' needs seconds"),
        (("--port", "70000"), 2, "70000 is not in the range"),
        (("--token", "a", "--token-file", "b"), 2, "exclude each other"),
        (("--token-file", "/nowhere/token"), 2, "cannot read the token from /nowhere/token"),
        (("--token-file", "/dev/null"), 2, "the token file /dev/null is empty"),
        (("--tls-cert", "x"), 2, "TLS takes both --tls-cert and --tls-key"),
        (("--client-ca", "x"), 2, "TLS takes both"),
        (("--tls-cert", "x", "--tls-key", "y"), 1, "cannot use the certificates x, y"),
        (("--address", "192.0.2.1"), 1, "cannot listen on 192.0.2.1:0"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(options, code, complaint):
    done = run("--port", "0", *options)
    assert done.returncode == code
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_said_with_what_to_do(start):
    port = start().address.rpartition(":")[2]
    done = run("--port", port)
    assert done.returncode == 1
    assert re.fullmatch(
        rf"rover: cannot listen on 127\.0\.0\.1:{port}: Address already in use; another program "
        r"listens there: end it, or choose another port, 0 for any\n",
        done.stderr,
    )


@pytest.mark.parametrize("options", [(), ("--watch",)])
def test_it_ends_quietly_when_nobody_reads_its_output(start, options):
    running = start(*options)
    running.process.stdout.close()
    with running.speak() as stub:
        stub.reportProcesses(report(host()), timeout=5)
    assert running.process.wait(20) == 0
    assert running.process.stderr.read() == ""


def test_on_a_terminal_it_draws_a_table_and_ends_on_ctrl_c(spawn):
    terminal = Terminal(100, 24)
    process = spawn(
        *COMMAND, "--port", "0", "--gone-after", "2",
        stdin=terminal.theirs, stdout=terminal.theirs, stderr=terminal.theirs,
    )  # fmt: skip
    os.close(terminal.theirs)
    address = terminal.wait_for(r"rover backend listens on (\S+)")[1]
    with grpc.insecure_channel(address) as channel:
        stub = EBPFProcessServiceStub(channel)
        stub.reportProcesses(report(host("nginx", 4242)), timeout=5)
        terminal.wait_for(r"nginx\s+4242\s+\ds\s+none yet")
        stub.keepAlive(beat(ping("nginx")), timeout=5)
        terminal.wait_for(r"nginx\s+4242\s+\ds\s+\ds ago")
        terminal.wait_for(r"nginx\s+4242\s+\ds\s+gone")
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
