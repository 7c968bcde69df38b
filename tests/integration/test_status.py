"""What a running agent answers on its port, and that nobody keeps others from being answered."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import platform
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace

import census_rig
import psutil
import pytest
from agent_rig import BY_PID, RunningAgent, running
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as as_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from status_rig import NOBODY, PRIVATE, Fake, as_user, get, serving

from bench.neighbours.http import KINDS
from rover import __version__, metrics
from rover.backend import EmbeddedBackend
from rover.config.settings import BackendSettings, DiscoverySettings
from rover.errors import RoverError
from rover.guard import Guard
from rover.reporter.reporter import Reporter
from rover.status.answers import AgentAnswers
from rover.status.bounds import Bounds
from rover.status.client import ask
from rover.status.http import Answer, Request, say
from rover.status.listeners import SOCKET_FILE, PortListener
from rover.status.overview import About
from rover.status.rates import AT_ONCE, FLOOD
from rover.status.server import Server
from rover.status.service import StatusService
from rover.status.site import Later

Eventually = Callable[..., object]


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with serving(tmp_path) as service:
        yield service.port


def test_probes_get_200_from_a_well_agent_and_503_from_an_ill_one(port: int, tmp_path: Path):
    assert get(port, "/healthz")[0] == 200
    assert get(port, "/readyz")[0] == 200
    ill = tmp_path / "ill"
    ill.mkdir(mode=0o700)
    with serving(ill, answers=Fake(fine=False)) as service:
        assert get(service.port, "/healthz")[0] == 503
        assert get(service.port, "/readyz")[0] == 503


@pytest.mark.parametrize(
    ("path", "status"),
    [("/", 200), ("/../etc/passwd", 404), ("/metrics/", 404), ("/metrics", 200)],
)
def test_each_question_gets_its_status(port: int, path: str, status: int):
    assert get(port, path)[0] == status


@pytest.mark.parametrize("path", ["/why?pid=1", "/why", "/why?pid=7"])
def test_of_processes_the_port_tells_where_to_ask_alone(port: int, path: str, tmp_path: Path):
    status, text = get(port, path)
    assert status == 410
    assert str(tmp_path / SOCKET_FILE) in text
    assert PRIVATE not in text


def test_the_port_tells_no_details(port: int):
    for path in ("/", "/healthz", "/readyz", "/metrics"):
        assert PRIVATE not in get(port, path)[1]


def test_head_is_answered_with_the_head_of_get(port: int):
    for path in ("/", "/healthz", "/metrics", "/nowhere"):
        assert get(port, path, "HEAD") == (get(port, path)[0], "")


@pytest.mark.parametrize(
    ("accept", "kind", "parse"),
    [
        ("", "text/plain", text_string_to_metric_families),
        ("application/openmetrics-text", "application/openmetrics-text", as_openmetrics),
    ],
)
def test_figures_are_told_in_the_format_that_is_asked_for(
    port: int, accept: str, kind: str, parse: Callable[[str], Iterable[Metric]]
):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/metrics", headers={"Accept": accept})
    answer = connection.getresponse()
    (build,) = [family for family in parse(answer.read().decode()) if "build" in family.name]
    connection.close()
    assert answer.headers.get_content_type() == kind
    (sample,) = build.samples
    assert (sample.name, sample.value) == ("rover_build_info", 1)
    assert sample.labels == {"version": __version__, "python": platform.python_version()}


def test_nothing_can_be_changed(port: int):
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
        for path in ("/healthz", "/log-level?level=DEBUG&seconds=60", "/nowhere"):
            assert get(port, path, method)[0] == 405
    assert get(port, "/log-level")[0] == 404


def test_a_name_that_is_none_of_its_own_is_not_answered(tmp_path: Path):
    with serving(tmp_path, names=("metrics.example.org", "*.rover.svc")) as service:
        status, text = get(service.port, "/metrics", host="evil.example:9464")
        assert status == 421
        assert "status.hosts" in text
        assert get(service.port, "http://evil.example/metrics")[0] == 421
        for host in (socket.gethostname(), "10.1.2.3:9464", "metrics.example.org", "a.rover.svc"):
            assert get(service.port, "/metrics", host=host)[0] == 200, host


def test_a_taken_port_is_refused_with_what_to_do(port: int, tmp_path: Path):
    with pytest.raises(RoverError, match=r"cannot serve status on .* choose another status\.addr"):
        StatusService(f"127.0.0.1:{port}", str(tmp_path))


@pytest.mark.parametrize("address", ["here", "127.0.0.1", "127.0.0.1:http", ":99999"])
def test_an_address_that_is_none_is_refused(address: str):
    with pytest.raises(RoverError, match=r"status\.addr .*(HOST:PORT or :PORT|port)"):
        PortListener(address)


class Slow:
    """A site whose figures hang until they are let go."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.made = 0

    def answer(self, request: Request) -> Answer | Later:
        if request.path == "/healthz":
            return say(HTTPStatus.OK, {})
        if request.path == "/large":
            return Answer(HTTPStatus.OK, bytes(20_000_000))
        if request.path == "/defect":
            raise ZeroDivisionError
        return Later(request.path, self._make)

    def _make(self) -> Answer:
        self.made += 1
        self.may_end.wait(30)
        return say(HTTPStatus.OK, {"made": self.made})


@pytest.fixture
def slow() -> Slow:
    return Slow()


BRIEF = Bounds(requests=8, answers=4, request_within=0.5, answer_within=1.0)


@pytest.fixture
def server(slow: Slow) -> Iterator[int]:
    listener = PortListener("127.0.0.1:0")
    server = Server(listener, BRIEF)
    server.serve(slow)
    yield listener.port
    slow.may_end.set()
    server.close()


def connected(
    port: int, source: str = "127.0.0.1", to: str = "127.0.0.1", **options: int
) -> socket.socket:
    client = socket.socket()
    for name, value in options.items():
        client.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
    client.bind((source, 0))
    client.settimeout(10)
    client.connect((to, port))
    return client


def ended(client: socket.socket) -> bool:
    """Tell whether the server has ended a connection; does not read it."""
    (event,) = select.select([client], [], [], 0)[:1]
    if not event:
        return False
    try:
        return client.recv(1, socket.MSG_PEEK) == b""
    except ConnectionError:
        return True


def ask_on(client: socket.socket, path: str) -> None:
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())


def test_health_is_told_while_figures_hang(server: int):
    with connected(server) as scraper:
        ask_on(scraper, "/metrics")
        assert get(server, "/healthz")[0] == 200


def test_who_asks_for_what_is_being_made_waits_for_the_same(server: int, slow: Slow):
    with connected(server) as first, connected(server) as second:
        for client in (first, second):
            ask_on(client, "/metrics")
        for _ in range(2):  # a round that began before may accept and answer it before it reads
            get(server, "/healthz")
        slow.may_end.set()
        assert b'"made": 1' in first.recv(4_096)
        assert b'"made": 1' in second.recv(4_096)


def test_more_than_a_few_slow_answers_are_not_made_at_once(server: int):
    clients = [connected(server) for _ in range(2)]
    for number, client in enumerate(clients):
        ask_on(client, f"/slow/{number}")
    others = [connected(server, "127.0.0.2") for _ in range(3)]
    for number, client in enumerate(others):
        ask_on(client, f"/slower/{number}")
    # whose request is read last depends on when each was accepted
    turned_away, _, _ = select.select(others, [], [], 10)
    told = [client.recv(4_096) for client in turned_away]
    for client in clients + others:
        client.close()
    assert len(told) == 1
    assert b"503" in told[0]


def test_a_defect_in_an_answer_ends_its_connection_alone(server: int):
    with connected(server) as client:
        ask_on(client, "/defect")
        assert _all(client) == b""
    assert get(server, "/healthz")[0] == 200


def _all(client: socket.socket) -> bytes:
    try:
        return client.recv(4_096)
    except ConnectionError:
        return b""


def test_the_time_for_a_request_is_that_for_the_whole_of_it(server: int, eventually: Eventually):
    with connected(server) as client:
        began = time.monotonic()

        def over() -> bool:
            """Look; say something in time, over and over, but no more often than is allowed."""
            if time.monotonic() - began > sent[0] * BRIEF.request_within / 10:
                sent[0] += 1
                with contextlib.suppress(ConnectionError):
                    client.send(b"GET /healthz HTTP/1.1\r\n"[sent[0] : sent[0] + 1])
            return ended(client)

        sent = [-1]
        eventually(over, 10)
        assert time.monotonic() - began >= BRIEF.request_within - 0.05


def test_the_time_for_an_answer_is_that_for_the_whole_of_it(server: int, eventually: Eventually):
    with connected(server, SO_RCVBUF=4_096) as client:
        ask_on(client, "/large")
        # it reads on and on, but a fraction of what comes in time
        eventually(lambda: _is_over_after(client, 500), 20)


def _is_over_after(client: socket.socket, amount: int) -> bool:
    try:
        return client.recv(amount) == b""
    except ConnectionError:
        return True


def test_the_oldest_connection_makes_room_for_a_new_one(slow: Slow, eventually: Eventually):
    listener = PortListener("127.0.0.1:0")
    server = Server(listener, Bounds(requests=8, request_within=60))
    server.serve(slow)
    try:
        held = [connected(listener.port, f"127.0.0.{number}") for number in range(2, 10)]
        held.append(connected(listener.port, "127.0.0.100"))
        eventually(lambda: ended(held[0]))
        assert not any(map(ended, held[1:]))
    finally:
        server.close()
    for client in held:
        client.close()


def test_one_peer_holds_half_of_the_places_at_most(slow: Slow, eventually: Eventually):
    listener = PortListener("127.0.0.1:0")
    server = Server(listener, Bounds(requests=8, request_within=60))
    server.serve(slow)
    try:
        held = [connected(listener.port) for _ in range(6)]
        eventually(lambda: ended(held[0]) and ended(held[1]))
        assert not any(map(ended, held[2:]))
    finally:
        server.close()
    for client in held:
        client.close()


def test_a_small_answer_comes_whatever_else_was_sent(server: int):
    with connected(server) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
        assert client.recv(4_096).startswith(b"HTTP/1.1 200 ")
    with connected(server) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(4_096).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("addresses", [1, 3, 500])
def test_probes_are_answered_among_a_thousand_hostile_connections(tmp_path: Path, addresses: int):
    with serving(tmp_path) as service, _attack(service.port, addresses) as attack:
        own = psutil.Process()
        before = own.memory_info().rss
        probes = 0
        while attack.poll() is None:
            assert get(service.port, "/healthz", to="127.0.0.1")[0] == 200
            probes += 1
            time.sleep(0.05)
        grown = own.memory_info().rss - before
        opened = json.loads(attack.communicate()[0])
        assert get(service.port, "/metrics")[0] == 200
    assert set(opened) == set(KINDS)
    assert probes > 0
    assert grown < 10 * 2**20


def test_peers_that_flood_are_held_off_and_let_go_again(tmp_path: Path):
    held_off = metrics.STATUS_HELD_OFF.labels("port")._value
    with serving(tmp_path) as service, _attack(service.port, 20) as attack:
        most = 0
        while attack.poll() is None:
            assert get(service.port, "/healthz", to="127.0.0.1")[0] == 200
            most = max(most, held_off.get())
            time.sleep(0.05)
        assert 0 < most <= 20
        # nobody comes any more, and still they are
        until = time.monotonic() + 20
        while held_off.get():
            assert time.monotonic() < until
            time.sleep(0.1)


@pytest.mark.parametrize(("to", "is_held_off"), [("127.0.0.1", True), ("127.0.0.2", False)])
def test_who_comes_from_the_address_that_it_asks_is_not_held_off(
    tmp_path: Path, eventually: Eventually, to: str, *, is_held_off: bool
):
    """A kubelet asks an agent on the host's network by the host's own address, as others may."""
    held_off = metrics.STATUS_HELD_OFF.labels("port")._value
    with serving(tmp_path, "0.0.0.0:0") as service, contextlib.ExitStack() as clients:
        for _ in range(int(AT_ONCE + FLOOD) + 5):
            if held_off.get():
                break
            with contextlib.suppress(TimeoutError):  # it is held off just now
                clients.enter_context(connected(service.port, "127.0.0.2", to))
        if is_held_off:
            eventually(held_off.get)
            return
        assert get(service.port, "/healthz", to=to)[0] == 200
        with connected(service.port, "127.0.0.2", to) as prober:
            prober.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.2\r\n\r\n")
            assert prober.recv(4_096).startswith(b"HTTP/1.1 200 ")
        assert not held_off.get()


def _attack(port: int, addresses: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.neighbours.http", str(port), "8", "1000"]
    return subprocess.Popen(
        [*command, "--addresses", str(addresses)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def test_nothing_is_left_of_a_service_that_was_closed(tmp_path: Path, eventually: Eventually):
    with serving(tmp_path) as service:
        held = [connected(service.port) for _ in range(5)]
        get(service.port, "/metrics")
        here = psutil.Process()
        during = here.num_fds()
    assert here.num_fds() < during
    eventually(lambda: all(map(ended, held)))
    threads = [thread.name for thread in threading.enumerate()]
    assert not [name for name in threads if name.startswith("status")]
    for client in held:
        client.close()


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
        agent.wait_for(os.getpid(), 30)
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

    why = running_agent.ask(f"/why?pid={os.getpid()}")
    assert why["reason"] == "reported"
    assert why["entities"][0]["backend"] == "is reported and kept alive"
    assert len(why["entities"][0]["process_id"]) == 64
    mine = running_agent.ask(f"/why?pid={running_agent.pid}")
    assert mine["reason"] == "belongs to the agent itself"
    ready = running_agent.ask("/readyz")
    assert (ready["ebpf"], ready["session"]) == ("attached by raw tracepoints", "beating")
    assert ready["backend"] == running_agent.backend.address
    assert running_agent.backend.address not in get(port, "/readyz")[1]


@pytest.mark.kernel
def test_another_user_learns_of_no_process_from_a_running_agent(
    agent: tuple[RunningAgent, int], tmp_path: Path, spawn: Callable[..., subprocess.Popen[bytes]]
):
    running_agent, port = agent
    folder = tmp_path / "secret-folder"
    folder.mkdir()
    child = spawn("/bin/sh", "-c", "sleep 60; : --password=hunter2", cwd=folder)
    running_agent.wait_for(child.pid)
    path = running_agent.state / SOCKET_FILE
    assert as_user(NOBODY, path).strip() == "PermissionError"
    # even where the file's mode does not hold it off
    override = ("--inh-caps=+dac_override", "--ambient-caps=+dac_override")
    assert as_user(NOBODY, path, *override).startswith("HTTP/1.1 403 ")
    asked = [f"/why?pid={child.pid}", "/metrics", "/healthz", "/readyz", "/"]
    told = "".join(get(port, path)[1] for path in asked)
    for secret in ("hunter2", "secret-folder", "sleep 60"):
        assert secret not in told
    story = json.dumps(running_agent.ask(f"/why?pid={child.pid}"))
    assert "secret-folder" in story
    assert "sleep 60" in story
    assert "hunter2" not in story, "secrets are masked for everybody"
    assert path.stat().st_mode & 0o777 == 0o600
    running_agent.terminate()
    assert not path.exists()


def test_health_tells_that_discovery_is_stuck_and_nobody_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
):
    monkeypatch.setattr("rover.status.answers.LATE", 0.5)
    may_go_on = threading.Event()
    reporter = Reporter(BackendSettings(addr="127.0.0.1:1"), DiscoverySettings(), "id")
    reporter.start()
    with census_rig.running(ebpf=False) as rig:
        answers = AgentAnswers(
            rig.discovery,
            reporter,
            None,
            reads=SimpleNamespace(state=lambda: "works"),
            about=About("id", "1.0", 1, 0.0, "none", "attached", kubernetes=False),
            guard=Guard(),
        )
        end_figures = metrics.collect_from(rig.discovery.figures)
        with serving(tmp_path, answers=answers) as service:
            eventually(lambda: get(service.port, "/healthz")[0] == 200)
            blocker = threading.Thread(
                target=lambda: rig.discovery.inspect(lambda _: may_go_on.wait(60), 60)
            )
            blocker.start()
            try:
                eventually(lambda: get(service.port, "/healthz")[0] == 503)
                assert "is stuck" in get(service.port, "/healthz")[1]
                assert get(service.port, "/readyz")[0] == 200
                status, text = get(service.port, "/metrics")
                assert status == 200
                assert "rover_session_state" in text
                assert "rover_entities " not in text
            finally:
                may_go_on.set()
                blocker.join()
            eventually(lambda: get(service.port, "/healthz")[0] == 200)
            eventually(lambda: "rover_entities " in get(service.port, "/metrics")[1])
        end_figures()
    reporter.stop()


@pytest.mark.kernel
def test_an_agent_that_was_killed_leaves_no_socket_in_the_way(
    tmp_path: Path, eventually: Eventually
):
    with EmbeddedBackend() as backend:
        with running(backend, tmp_path, config=BY_PID) as first:
            first.wait_for(os.getpid(), 30)
            first.process.kill()
            first.process.wait()
            assert (first.state / SOCKET_FILE).exists()
            with pytest.raises(RoverError, match="no agent runs"):
                ask(first.state, "/healthz")
        with running(backend, tmp_path, config=BY_PID) as second:
            eventually(lambda: second.log.read_text().count("status served") == 2, 20)
            assert second.ask("/healthz")["discovery"] == "works"
