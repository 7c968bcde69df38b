"""deploy/daemonset.yaml gives the agent what it needs and no more; it says what is missing."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from agent_rig import RunningAgent
from node_rig import Cluster, denying, without

from bench.cluster.objects import NODE, container_id, pod, service
from bench.rig.container import Container, Mount
from bench.rig.node import Node
from rover.backend import StoredProcess

pytestmark = pytest.mark.kernel

BITS = {
    "DAC_READ_SEARCH": 2,
    "SYS_PTRACE": 19,
    "SYS_RESOURCE": 24,
    "SYSLOG": 34,
    "PERFMON": 38,
    "BPF": 39,
    "CHECKPOINT_RESTORE": 40,
}
OTHER_USER = 54_321
MANIFESTS = Container.of_manifest(NODE)
SLEEP = str(Path("/bin/sleep").resolve())

BY_FACTS = """
process_discovery:
  kubernetes:
    active: true
    analyzers:
      - layer: K8S_SERVICE
        service_name: "{{.Pod.ServiceName}}"
        instance_name: "{{.Process.WorkDir}}"
        process_name: "{{.Process.ExeFilePath}}"
"""
"""Names that tell what could be read of a process."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster.running(tmp_path) as cluster:
        yield cluster


@pytest.fixture
def node() -> Iterator[Node]:
    with Node() as node:
        yield node


@pytest.fixture
def stranger(cluster: Cluster, node: Node, tmp_path: Path) -> int:
    """A pod's process of another user, who has capabilities that the agent has not."""
    cluster.api.put("services", service("web"))
    item = pod("web-1", labels={"app": "web"})
    cluster.api.put("pods", item)
    uid = item["metadata"]["uid"]
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    return node.run(
        f"/kubepods/burstable/pod{uid}/{container_id(uid, 'app', 0)}",
        *("setpriv", f"--reuid={OTHER_USER}", f"--regid={OTHER_USER}", "--clear-groups"),
        *("--inh-caps=+chown,+net_raw", "--ambient-caps=+chown,+net_raw", "/bin/sleep", "600"),
        cwd=home,
    )


def capabilities_of(pid: int) -> set[int]:
    status = Path(f"/proc/{pid}/status").read_text()
    effective = int(status.partition("CapEff:")[2].split()[0], 16)
    return {bit for bit in range(64) if effective >> bit & 1}


def bounding() -> set[int]:
    bits = int(Path("/proc/self/status").read_text().partition("CapBnd:")[2].split()[0], 16)
    return {bit for bit in range(64) if bits >> bit & 1}


def mounts_of(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/mounts").read_text().splitlines()
    return {line.split()[1]: line.split()[3].split(",") for line in lines}


def told(agent: RunningAgent) -> str:
    """What the agent had said when it ended by itself."""
    assert agent.process.wait(20) == 1
    text = agent.log.read_text()
    assert "Traceback" not in text
    return text


def lines(agent: RunningAgent, kind: str) -> list[str]:
    return [line for line in agent.log.read_text().splitlines() if kind in line]


def facts(row: StoredProcess) -> tuple[str, str]:
    return row.entity.instance, row.entity.process


def test_the_manifests_rights_are_enough_and_the_agent_has_no_other(
    cluster: Cluster, stranger: int, tmp_path: Path
):
    with cluster.pod(None, "--require-ebpf", config=BY_FACTS) as agent:
        row = agent.wait_for(stranger)
        asked = {BITS[name] for name in MANIFESTS.capabilities}
        assert capabilities_of(agent.pid) == asked & bounding()
        assert "NoNewPrivs:\t1" in Path(f"/proc/{agent.pid}/status").read_text()
        mounts = mounts_of(agent.pid)
    assert {path for path, options in mounts.items() if "ro" not in options} & {
        *("/", "/etc/rover", "/sys", "/var/lib/rover")
    } == {"/var/lib/rover"}
    assert row.kind == "KUBERNETES"
    assert facts(row) == (str(tmp_path / "home"), SLEEP)
    log = agent.log.read_text()
    assert "probes attached" in log
    assert "missing CAP_" not in log
    assert (tmp_path / "state" / "agent-id").exists()


@pytest.mark.parametrize("capability", ["BPF", "PERFMON"])
def test_without_a_capability_to_trace_the_agent_names_its_line(cluster: Cluster, capability: str):
    with cluster.pod(without(MANIFESTS, capability), "--require-ebpf") as agent:
        said = told(agent)
    assert f"securityContext.capabilities.add: [{capability}]" in said


def test_without_a_capability_to_trace_it_scans_unless_ebpf_is_required(
    cluster: Cluster, stranger: int
):
    with cluster.pod(without(MANIFESTS, "BPF")) as agent:
        assert agent.wait_for(stranger).kind == "KUBERNETES"
    (warning,) = lines(agent, "WARNING rover.agent")
    assert "processes are found by scanning every 3 s" in warning
    assert "securityContext.capabilities.add: [BPF]" in warning


def test_locked_memory_asks_for_no_capability_on_this_kernel(
    cluster: Cluster, eventually: Callable[..., object]
):
    container = without(MANIFESTS, "SYS_RESOURCE")
    with cluster.pod(container, "--require-ebpf") as agent:
        eventually(lambda: "started version" in agent.log.read_text(), 20)


def test_without_ptrace_facts_are_missing_which_is_said_once(cluster: Cluster, stranger: int):
    with cluster.pod(without(MANIFESTS, "SYS_PTRACE"), "--require-ebpf") as agent:
        assert agent.wait_for(stranger).entity.process == "sleep"
    said = agent.log.read_text()
    assert said.count("securityContext.capabilities.add: [SYS_PTRACE]") == 1
    assert "/proc keeps back files=cwd,exe" in said


HOST_PROCESSES = {"ROVER_PROCESS_DISCOVERY_KUBERNETES_HOST_PROCESSES": "true"}


@pytest.fixture
def instrumented(node: Node, tmp_path: Path) -> int:
    """A process outside pods with a SkyWalking agent, of another user who keeps all others out."""
    private = tmp_path / "private"
    private.mkdir()
    pid = node.run(
        "/system.slice/shop.service",
        *("setpriv", f"--reuid={OTHER_USER}", f"--regid={OTHER_USER}", "--clear-groups"),
        *("/bin/sleep", "600"),
        env={"TMPDIR": str(private)},
    )
    place = private / "apache_skywalking" / "process" / str(pid)
    place.mkdir(parents=True)
    (place / "metadata.properties").write_text(
        "layer=GENERAL\nservice_name=shop\ninstance_name=i\nprocess_name=p\n"
    )
    for path in (private, *private.rglob("*")):
        os.chown(path, OTHER_USER, OTHER_USER)
        path.chmod(0o600 if path.is_file() else 0o700)
    return pid


def test_files_of_other_users_are_read(cluster: Cluster, instrumented: int):
    with cluster.pod(env=HOST_PROCESSES) as agent:
        row = agent.wait_for(instrumented)
    assert (row.entity.layer, row.entity.instance, row.entity.process) == ("GENERAL", "i", "p")


def test_without_the_right_to_read_files_of_others_that_is_said_once(
    cluster: Cluster, instrumented: int
):
    with cluster.pod(without(MANIFESTS, "DAC_READ_SEARCH"), env=HOST_PROCESSES) as agent:
        row = agent.wait_for(instrumented)
    assert row.entity.layer == "OS_LINUX"
    said = agent.log.read_text()
    assert said.count("securityContext.capabilities.add: [DAC_READ_SEARCH]") == 1


@pytest.mark.usefixtures("stranger")
def test_without_the_hosts_pids_the_agent_sees_itself_alone_and_says_so(
    cluster: Cluster, eventually: Callable[..., object]
):
    pod = replace(MANIFESTS, host_pid=False)
    with cluster.pod(pod, "--require-ebpf", env=HOST_PROCESSES) as agent:
        eventually(lambda: cluster.api.watching() == 2, 20)
        eventually(lambda: "started version" in agent.log.read_text(), 20)
        assert agent.process.poll() is None
    (warning,) = lines(agent, "WARNING rover.probes")
    assert "`hostPID: true`" in warning
    assert "it sees no process outside" in warning
    assert not cluster.backend.state.snapshot().processes
    assert agent.process.returncode == 0


def test_a_seccomp_profile_that_forbids_tracing_is_named(cluster: Cluster):
    with cluster.pod(None, "--require-ebpf", wrap=denying("bpf", errno.EPERM)) as agent:
        said = told(agent)
    assert "forbids bpf(2)" in said
    assert "securityContext.seccompProfile: {type: Unconfined}" in said


@pytest.mark.parametrize("refusal", [errno.EPERM, errno.EACCES], ids=["seccomp", "Debian"])
def test_a_node_that_keeps_perf_events_to_administrators_hinders_nothing(
    cluster: Cluster, refusal: int, eventually: Callable[..., object]
):
    wrap = denying("perf_event_open", refusal)
    with cluster.pod(None, "--require-ebpf", wrap=wrap) as agent:
        eventually(lambda: "ebpf=raw_tracepoints" in agent.log.read_text(), 20)


def test_without_btf_a_distribution_that_keeps_tracing_to_administrators_is_named(
    cluster: Cluster, tmp_path: Path
):
    # as the kernels of Debian and Ubuntu answer
    level, no_btf = tmp_path / "paranoid", tmp_path / "btf"
    level.write_text("4\n")
    no_btf.mkdir()
    mounts = (
        Mount("/proc/sys/kernel/perf_event_paranoid", f"hostPath:{level}", read_only=True),
        Mount("/sys/kernel/btf", f"hostPath:{no_btf}", read_only=True),
        Mount("/sys/kernel/tracing", "hostPath:/sys/kernel/tracing", read_only=True),
    )
    container = replace(MANIFESTS, mounts=(*MANIFESTS.mounts, *mounts))
    wrap = denying("perf_event_open", errno.EACCES)
    with cluster.pod(container, "--require-ebpf", wrap=wrap) as agent:
        said = told(agent)
    assert "no offsets of the kernel's structures" in said
    assert "kernel.perf_event_paranoid is 4" in said
    assert "securityContext.capabilities.add: [SYS_ADMIN]" in said
