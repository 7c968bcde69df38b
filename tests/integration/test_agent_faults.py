"""The whole agent, and every fault that the embedded backend knows.

Processes start and end while a fault is in force. Once it is over, the backend holds within a beat
what runs on this host: nothing is missing, nothing twice, and no rule of the protocol was broken.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent_rig import RunningAgent, running
from certificates import make_certificates

from bench.rig import sleepers
from bench.rig.backend import broken_rules, difference
from rover.backend import BackendOptions, EmbeddedBackend, Tls

pytestmark = pytest.mark.kernel

BEAT = 1.0
GRACE = 1.0
"""A call under way when the fault ends has its deadline to run into, and a denied agent waits."""
QUICK = (
    f"--set=process_discovery.heartbeat_period={BEAT}s",
    "--set=core.backend.timeout=500ms",
    "--set=core.backend.check_period=500ms",
)
TOKEN = "token-of-the-test"  # noqa: S105 - of nobody else
FAULTS: dict[str, Callable[[EmbeddedBackend], object]] = {
    "refuse": lambda backend: backend.faults.refuse(),
    "reset": lambda backend: backend.faults.reset(connections=3),
    "black hole": lambda backend: backend.faults.black_hole(),
    "delay": lambda backend: backend.faults.delay(0.3),
    "delay beyond the deadline": lambda backend: backend.faults.delay(0.7),
    "slow reads": lambda backend: backend.faults.slow(2_000),
    "away, by rate": lambda backend: backend.faults.error("UNAVAILABLE", rate=0.6),
    "out of memory, by count": lambda backend: backend.faults.error("RESOURCE_EXHAUSTED", count=3),
    "unknown, by rate": lambda backend: backend.faults.error("UNKNOWN", rate=0.5),
    "invalid, by count": lambda backend: backend.faults.error("INVALID_ARGUMENT", count=2),
    "unauthenticated": lambda backend: backend.faults.error("UNAUTHENTICATED"),
    "denied": lambda backend: backend.faults.error("PERMISSION_DENIED"),
    "wrong server": lambda backend: backend.faults.error("UNIMPLEMENTED"),
    "answers lost": lambda backend: backend.faults.error("UNAVAILABLE", stored=True, rate=0.7),
    "restart": lambda backend: backend.restart(),
    "restart without memory": lambda backend: backend.restart(keep_memory=False),
    "restart, long away": lambda backend: backend.restart(keep_memory=False, downtime=2.0),
    "fewer items": lambda backend: backend.faults.fewer(3, count=3),
    "reordered": lambda backend: backend.faults.reorder(),
    "ids dropped": lambda backend: backend.faults.drop_ids(count=3),
    "ids wrong": lambda backend: backend.faults.wrong_ids(count=3),
    "message limit": lambda backend: backend.faults.limit_message_size(1_500),
    "token required": lambda backend: backend.faults.require_token("another"),
}


@pytest.fixture(scope="module")
def backend() -> Iterator[EmbeddedBackend]:
    with EmbeddedBackend(BackendOptions(seed=1)) as server:
        yield server


@pytest.fixture(scope="module")
def agent(
    backend: EmbeddedBackend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningAgent]:
    with running(backend, tmp_path_factory.mktemp("agent"), *QUICK) as agent:
        backend.state.wait_for(lambda held: any(row.visible for row in held.processes))
        yield agent


@pytest.fixture
def crew() -> Iterator[sleepers.Sleepers]:
    with sleepers.running() as group:
        yield group


def start(crew: sleepers.Sleepers, amount: int) -> dict[int, str]:
    programs = [crew.next_program() for _ in range(amount)]
    return {crew.start(program): program.name for program in programs}


def churn(crew: sleepers.Sleepers, living: dict[int, str], seconds: float) -> None:
    """Let processes start and end, one of each every tenth of a second."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        living.update(start(crew, 1))
        gone = next(iter(living))
        del living[gone]
        crew.end(gone)
        time.sleep(0.1)


def wait_for_equality(
    backend: EmbeddedBackend, living: dict[int, str], since: float, within: float = BEAT + GRACE
) -> None:
    until = time.monotonic() + within
    while differing := difference(backend, living, since, BEAT):
        assert time.monotonic() < until, differing
        time.sleep(0.01)


@pytest.mark.parametrize("name", FAULTS)
def test_after_a_fault_the_backend_holds_what_runs_within_a_beat(
    name: str, agent: RunningAgent, crew: sleepers.Sleepers
):
    backend = agent.backend
    living, began = start(crew, 10), time.monotonic()
    wait_for_equality(backend, living, began, 10)
    FAULTS[name](backend)
    churn(crew, living, 2 * BEAT)
    backend.faults.clear()
    quiet = time.monotonic()
    wait_for_equality(backend, living, quiet)
    assert not broken_rules(backend.violations)
    assert agent.process.poll() is None


@pytest.mark.parametrize("link", ["TLS", "mutual TLS"])
def test_a_link_with_tls_holds_what_runs_through_a_restart_with_other_certificates(
    link: str, tmp_path: Path, crew: sleepers.Sleepers
):
    mutual = link == "mutual TLS"
    paths = make_certificates(tmp_path)
    tls = Tls(paths / "server.pem", paths / "server.key", paths / "ca.pem" if mutual else None)
    options = ["--set=core.backend.enable_TLS=true"]
    options += [f"--set=core.backend.ca_pem_path={paths}/ca.pem"]
    if mutual:
        options += [f"--set=core.backend.client_pem_path={paths}/client.pem"]
        options += [f"--set=core.backend.client_key_path={paths}/client.key"]
    living, began = start(crew, 10), time.monotonic()
    with (
        EmbeddedBackend(BackendOptions(tls=tls, token=TOKEN)) as backend,
        running(
            backend,
            tmp_path,
            *QUICK,
            *options,
            environment={"ROVER_BACKEND_AUTHENTICATION": TOKEN},
        ) as agent,
    ):
        wait_for_equality(backend, living, began, 10)
        wrong = Tls(paths / "foreign.pem", paths / "foreign.key", tls.client_ca)
        backend.restart(keep_memory=False, tls=wrong)
        churn(crew, living, 2 * BEAT)
        backend.restart(tls=tls)
        quiet = time.monotonic()
        wait_for_equality(backend, living, quiet)
        assert not backend.violations
    said = agent.log.read_text()
    assert "CERTIFICATE_VERIFY_FAILED" in said
    assert TOKEN not in said


def test_a_backend_whose_name_moves_to_another_address_is_followed(
    tmp_path: Path, crew: sleepers.Sleepers, eventually: Callable[..., object]
):
    hosts = tmp_path / "hosts"

    def name_means(address: str) -> None:
        hosts.write_text(f"127.0.0.1 localhost\n{address} oap.test\n")

    name_means("127.0.0.9")  # where nobody listens
    own_hosts = 'mount --bind "$0" /etc/hosts && exec "$@"'
    wrap = ("unshare", "--mount", "--propagation=private", "sh", "-ec", own_hosts, str(hosts))
    living = start(crew, 10)
    with EmbeddedBackend(BackendOptions(host="127.0.0.1")) as first:
        options = BackendOptions(host="127.0.0.2", port=first.port)
        address = {"ROVER_BACKEND_ADDR": f"oap.test:{first.port}"}
        with (
            EmbeddedBackend(options) as second,
            running(first, tmp_path, *QUICK, wrap=wrap, environment=address) as agent,
        ):
            eventually(lambda: "state=backing-off" in agent.log.read_text())
            moved = time.monotonic()
            name_means("127.0.0.1")
            wait_for_equality(first, living, moved, 10)
            assert second.state.snapshot().calls_total == 0
            name_means("127.0.0.2")
            first.stop()
            moved = time.monotonic()
            wait_for_equality(second, living, moved)
            assert not second.violations
