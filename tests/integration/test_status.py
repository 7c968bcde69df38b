"""What a running agent answers over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from agent_rig import BY_PID, RunningAgent, running
from prometheus_client.parser import text_string_to_metric_families

from rover.backend import EmbeddedBackend
from rover.errors import RoverError
from rover.status.http import StatusServer


class Fake:
    """Answers without an agent."""

    def __init__(self, *, fine: bool = True) -> None:
        self.fine = fine

    def health(self) -> tuple[bool, Mapping[str, Any]]:
        return self.fine, {"discovery": "works"}

    def readiness(self) -> tuple[bool, Mapping[str, Any]]:
        return self.fine, {"first_scan": "done"}

    def why(self, pid: int) -> Mapping[str, Any] | None:
        if pid == 7:
            raise RoverError("the discovery thread gave no answer within 5 s")
        return {"pid": pid} if pid == 1 else None


def get(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


@pytest.fixture
def server() -> Iterator[StatusServer]:
    served = StatusServer("127.0.0.1:0")
    served.serve(Fake())
    yield served
    served.close()


def test_probes_get_200_from_a_well_agent_and_503_from_an_ill_one(server: StatusServer):
    assert get(server.port, "/healthz")[0] == 200
    assert get(server.port, "/readyz")[0] == 200
    ill = StatusServer("127.0.0.1:0")
    ill.serve(Fake(fine=False))
    try:
        assert get(ill.port, "/healthz")[0] == 503
        assert get(ill.port, "/readyz")[0] == 503
    finally:
        ill.close()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/why?pid=1", 200),
        ("/why?pid=2", 404),
        ("/why?pid=7", 503),
        ("/why?pid=-1", 400),
        ("/why?pid=%C2%B2", 400),
        ("/why", 400),
        ("/", 404),
        ("/../etc/passwd", 404),
    ],
)
def test_each_question_gets_its_status(server: StatusServer, path: str, status: int):
    assert get(server.port, path)[0] == status


def test_nothing_can_be_changed(server: StatusServer):
    for method in ("POST", "PUT", "DELETE"):
        assert get(server.port, "/healthz", method)[0] == 501


def test_clients_that_say_nothing_do_not_keep_others_out(server: StatusServer):
    idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(5)]
    assert get(server.port, "/healthz")[0] == 200
    for client in idle:
        client.close()


def test_a_taken_port_is_refused_with_what_to_do(server: StatusServer):
    with pytest.raises(RoverError, match=r"cannot serve status on .* choose another status\.addr"):
        StatusServer(f"127.0.0.1:{server.port}")


@pytest.mark.parametrize("address", ["here", "127.0.0.1", "127.0.0.1:http", ":99999"])
def test_an_address_that_is_none_is_refused(address: str):
    with pytest.raises(RoverError, match=r"status\.addr .*(HOST:PORT or :PORT|port)"):
        StatusServer(address)


FROM_ANOTHER_ADDRESS = """
import fcntl, http.client, socket, struct, sys
sys.path[:0] = sys.argv[1:]
from test_status import Fake
from rover.status.http import StatusServer
SIOCSIFADDR, SIOCSIFFLAGS, IFF_UP = 0x8916, 0x8914, 1
address = struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton("10.77.0.1"))
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
    fcntl.ioctl(control, SIOCSIFADDR, struct.pack("16s16s", b"lo", address))
    fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
server = StatusServer(":0")
server.serve(Fake())
for path in ("/why?pid=1", "/healthz"):
    connection = http.client.HTTPConnection("10.77.0.1", server.port, timeout=5)
    connection.request("GET", path)
    print(connection.getresponse().status)
    connection.close()
server.close()
"""


@pytest.mark.kernel
def test_command_lines_are_told_to_this_host_alone():
    here = str(Path(__file__).parent)
    answered = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", FROM_ANOTHER_ADDRESS, here],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert answered.stdout.split() == ["403", "200"]


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[tuple[RunningAgent, int]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"ROVER_STATUS_ADDR": f"127.0.0.1:{port}"}
    with (
        EmbeddedBackend() as backend,
        running(backend, tmp_path, config=BY_PID, environment=environment) as agent,
    ):
        agent.wait_for(os.getpid())
        yield agent, port


@pytest.mark.kernel
def test_a_running_agent_tells_its_figures_and_why(agent: tuple[RunningAgent, int]):
    running_agent, port = agent
    status, text = get(port, "/metrics")
    assert status == 200
    families = {family.name: family for family in text_string_to_metric_families(text)}
    events = {s.labels["kind"]: s.value for s in families["rover_events"].samples}
    assert events["fork"] >= 0
    assert sum(sample.value for sample in families["rover_lost"].samples) == 0
    reported = [s for s in families["rover_processes"].samples if s.labels["reason"] == "reported"]
    assert reported[0].value >= 2
    assert families["rover_entities"].samples[0].value == reported[0].value
    told = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    assert [name for name in families if name.startswith("rover") and name not in told] == []
    for name in ("rover_proc_reads", "rover_settled_processes", "rover_reconciles"):
        assert families[name].samples

    ways = {s.labels["way"]: s.value for s in families["rover_ebpf"].samples}
    assert ways == {"raw tracepoints": 1, "tracepoints": 0, "none": 0}

    why = json.loads(get(port, f"/why?pid={os.getpid()}")[1])
    assert why["reason"] == "reported"
    assert why["entities"][0]["backend"] == "is reported and kept alive"
    assert len(why["entities"][0]["process_id"]) == 64
    mine = json.loads(get(port, f"/why?pid={running_agent.pid}")[1])
    assert mine["reason"] == "belongs to the agent itself"
    ready = json.loads(get(port, "/readyz")[1])
    assert (ready["ebpf"], ready["session"]) == ("attached by raw tracepoints", "beating")
