"""The whole agent in a cluster: real processes in real cgroups, an emulated API, a real backend."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent_rig import ROVER, RunningAgent, running

from bench.cluster.api import ApiServer
from bench.cluster.objects import NODE, container_id, pod, service, uid_of
from bench.rig.follower import kubeconfig
from bench.rig.node import Node
from rover.backend import EmbeddedBackend, Snapshot, StoredProcess

pytestmark = pytest.mark.kernel


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node()
    yield node
    node.close()


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def backend() -> Iterator[EmbeddedBackend]:
    with EmbeddedBackend() as server:
        yield server


@pytest.fixture
def start(api: ApiServer, backend: EmbeddedBackend, tmp_path: Path) -> Callable[..., object]:
    """Start an agent on this node of the emulated cluster."""

    def start(**more: str) -> object:
        prefix = "ROVER_PROCESS_DISCOVERY_KUBERNETES_"
        environment = {
            prefix + "ACTIVE": "true",
            prefix + "NODE_NAME": NODE,
            prefix + "KUBECONFIG": kubeconfig(tmp_path, api.url),
        }
        return running(backend, tmp_path, environment={**environment, **more})

    return start


def slice_of(uid: str, quality: str = "besteffort") -> str:
    name = f"kubepods-{quality}"
    return f"/kubepods.slice/{name}.slice/{name}-pod{uid.replace('-', '_')}.slice"


def cgroup_of(uid: str, container: str = "app") -> str:
    """The path that containerd gives by systemd."""
    return f"{slice_of(uid)}/cri-containerd-{container_id(uid, container, 0)}.scope"


SHAPES = {
    "containerd": lambda uid, it: f"{slice_of(uid)}/cri-containerd-{it}.scope",
    "guaranteed": lambda uid, it: (
        f"/kubepods.slice/kubepods-pod{uid.replace('-', '_')}.slice/cri-containerd-{it}.scope"
    ),
    "cgroupfs": lambda uid, it: f"/kubepods/burstable/pod{uid}/{it}",
    "colon": lambda uid, it: (
        "/system.slice/containerd.service/"
        f"kubepods-burstable-pod{uid.replace('-', '_')}.slice:cri-containerd:{it}"
    ),
    "crio": lambda uid, it: f"{slice_of(uid)}/crio-{it}.scope/container",
    "docker": lambda uid, it: f"{slice_of(uid, 'burstable')}/docker-{it}.scope",
    "nested": lambda uid, it: (
        f"/docker/{'0f' * 32}/kubelet{slice_of(uid)}/cri-containerd-{it}.scope"
    ),
    "below": lambda uid, it: f"{slice_of(uid)}/cri-containerd-{it}.scope/init.scope",
}


def rows(held: Snapshot, pid: int) -> list[StoredProcess]:
    return [row for row in held.processes if row.pid == pid and row.visible]


def wait_for(backend: EmbeddedBackend, pid: int, within: float = 20) -> StoredProcess:
    held = backend.state.wait_for(lambda held: rows(held, pid), within)
    (row,) = rows(held, pid)
    return row


def test_each_shape_of_cgroup_leads_to_its_pod(
    node: Node, api: ApiServer, backend: EmbeddedBackend, start: Callable[..., RunningAgent]
):
    api.put("services", service("shop", selector={"tier": "shop"}))
    pids = {}
    for number, (name, path) in enumerate(SHAPES.items()):
        item = pod(f"pod-{name}", labels={"tier": "shop"}, ip=f"10.0.0.{number + 1}")
        api.put("pods", item)
        uid = item["metadata"]["uid"]
        pids[name] = node.run(path(uid, container_id(uid, "app", 0)), "/bin/sleep", "600")
    with start():
        for number, (name, pid) in enumerate(pids.items()):
            row = wait_for(backend, pid)
            assert (row.kind, row.entity.layer) == ("KUBERNETES", "K8S_SERVICE"), name
            service_name = next(
                s.name for s in backend.state.snapshot().services if s.id == row.service_id
            )
            assert service_name == "shop.default"
            assert row.entity.instance == f"pod-{name}"
            assert row.entity.process == "sleep"
            assert row.entity.labels == ("k8s-service",)
            assert dict(row.properties) == {
                "host_ip": "192.168.1.10",
                "container_ip": f"10.0.0.{number + 1}",
                "container_name": "app",
                "pod_name": f"pod-{name}",
                "pid": str(pid),
                "command_line": "/bin/sleep 600",
                "support_ebpf_profiling": "true",
            }
        held = backend.state.snapshot()
    assert {row.pid for row in held.processes} == set(pids.values()), "processes outside pods"
    assert not held.violations


def ps(kubeconfig: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    kubernetes = "process_discovery.kubernetes"
    active = ("--set", f"{kubernetes}.active=true", "--set", f"{kubernetes}.node_name={NODE}")
    return subprocess.run(
        [ROVER, "ps", "--kubeconfig", kubeconfig, *active, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_ps_asks_the_cluster_as_the_agent_does(node: Node, api: ApiServer, tmp_path: Path):
    api.put("services", service("shop", selector={"tier": "shop"}))
    item = pod("shop-1", labels={"tier": "shop"})
    api.put("pods", item)
    pid = node.run(cgroup_of(item["metadata"]["uid"]), "/bin/sleep", "600")
    outside = os.getpid()
    said = ps(kubeconfig(tmp_path, api.url), "-o", "json", str(pid), str(outside))
    told = {process["pid"]: process for process in json.loads(said.stdout)}
    (entity,) = told[pid]["entities"]
    assert (entity["layer"], entity["service"]) == ("K8S_SERVICE", "shop.default")
    assert told[outside]["reason"] == "runs outside any pod"
    assert "not listed" not in said.stderr


def test_ps_says_so_where_the_cluster_does_not_answer(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        said = ps(kubeconfig(tmp_path, url), str(os.getpid()))
    assert said.returncode == 0
    assert "pods are not listed after 10 s" in said.stderr


def test_a_mesh_pod_has_an_entity_for_each_analyzer_that_matches(
    node: Node, api: ApiServer, backend: EmbeddedBackend, start: Callable[..., RunningAgent]
):
    api.put("services", service("cart", selector={"app": "cart"}))
    item = pod("cart-1", labels={"app": "cart"}, containers=("app", "istio-proxy"))
    api.put("pods", item)
    uid = item["metadata"]["uid"]
    app = node.run(cgroup_of(uid, "app"), "/bin/sleep", "600")
    proxy = node.run(cgroup_of(uid, "istio-proxy"), "/usr/bin/tail", "-f", "/dev/null")
    with start():
        backend.state.wait_for(lambda held: rows(held, app) and rows(held, proxy))

        def layers(pid: int) -> set[str]:
            told = backend.state.snapshot()
            names = {s.id: s.layers for s in told.services}
            return {layer for row in rows(told, pid) for layer in names[row.service_id]}

        # two entities of one name are one row at the server, under the layers of both
        assert layers(app) == layers(proxy) == {"MESH", "MESH_DP", "K8S_SERVICE"}


def test_a_process_is_reported_when_its_pods_status_comes_late(
    node: Node, api: ApiServer, backend: EmbeddedBackend, start: Callable[..., RunningAgent]
):
    api.put("services", service("late", selector={"app": "late"}))
    early = pod("early", labels={"app": "late"})
    api.put("pods", early)
    marker = node.run(cgroup_of(early["metadata"]["uid"]), "/bin/sleep", "600")
    with start():
        wait_for(backend, marker)
        uid = uid_of("default", "late")
        api.put("pods", pod("late", uid=uid, started=False))
        pid = node.run(cgroup_of(uid), "/bin/sleep", "601")
        time.sleep(5)  # as a slow kubelet takes
        assert not rows(backend.state.snapshot(), pid)
        api.put("pods", pod("late", uid=uid))
        began = time.monotonic()
        assert wait_for(backend, pid).entity.instance == "late"
        assert time.monotonic() - began < 1


def test_a_service_created_later_gives_its_pods_their_entity_within_a_second(
    node: Node, api: ApiServer, backend: EmbeddedBackend, start: Callable[..., RunningAgent]
):
    api.put("services", service("first", selector={"app": "first"}))
    item = pod("first", labels={"app": "first"})
    api.put("pods", item)
    other = pod("second", labels={"app": "second"})
    api.put("pods", other)
    marker = node.run(cgroup_of(item["metadata"]["uid"]), "/bin/sleep", "600")
    pid = node.run(cgroup_of(other["metadata"]["uid"]), "/bin/sleep", "600")
    with start():
        wait_for(backend, marker)
        assert not rows(backend.state.snapshot(), pid)
        api.put("services", service("second", selector={"app": "second"}))
        began = time.monotonic()
        wait_for(backend, pid)
        assert time.monotonic() - began < 1


def test_a_process_keeps_its_pod_while_it_outlives_the_pods_object(
    node: Node, api: ApiServer, backend: EmbeddedBackend, start: Callable[..., RunningAgent]
):
    api.put("services", service("old", selector={"app": "old"}))
    item = pod("old", labels={"app": "old"})
    api.put("pods", item)
    pid = node.run(cgroup_of(item["metadata"]["uid"]), "/bin/sleep", "600")
    with start(ROVER_PROCESS_DISCOVERY_HEARTBEAT_PERIOD="1s"):
        wait_for(backend, pid)
        api.delete("pods", "default", "old")
        held = backend.state.snapshot()
        pings = rows(held, pid)[0].pings
        backend.state.wait_for(lambda held: rows(held, pid)[0].pings >= pings + 3)


def test_processes_outside_pods_are_reported_where_the_user_wishes(
    node: Node,
    api: ApiServer,
    backend: EmbeddedBackend,
    start: Callable[..., RunningAgent],
    tmp_path: Path,
):
    program = Path(shutil.copy("/bin/sleep", tmp_path / "plain-container"))
    item = pod("in", labels={"app": "in"})
    api.put("pods", item)
    api.put("services", service("in", selector={"app": "in"}))
    inside = node.run(cgroup_of(item["metadata"]["uid"]), "/bin/sleep", "600")
    plain = node.run(f"/system.slice/docker-{'1e' * 32}.scope", str(program), "600")
    kubelet = node.run("/system.slice/kubelet.service", "/bin/sleep", "602")
    with start(ROVER_PROCESS_DISCOVERY_KUBERNETES_HOST_PROCESSES="true"):
        assert wait_for(backend, inside).kind == "KUBERNETES"
        assert wait_for(backend, plain).kind == "VM"
        row = wait_for(backend, kubelet)
        held = backend.state.snapshot()
    assert (row.kind, row.entity.layer, row.entity.process) == ("VM", "OS_LINUX", "sleep")
    (served,) = [s.name for s in held.services if s.id == row.service_id]
    assert served == "kubelet"
    assert not held.violations


def test_a_pod_is_explained_by_its_name_and_its_container_by_its_id(
    node: Node, api: ApiServer, backend: EmbeddedBackend, start: Callable[..., RunningAgent]
):
    item = pod("cart-7f", labels={"tier": "shop"})
    api.put("pods", item)
    uid = item["metadata"]["uid"]
    inside = node.run(cgroup_of(uid), "/bin/sleep", "600")
    sandbox = node.run(cgroup_of(uid, "sandbox"), "/bin/sleep", "601")
    with start() as agent:
        api.put("services", service("shop", selector={"tier": "shop"}))
        wait_for(backend, inside)
        told = agent.ask("/explain?pod=default/cart-7f")
        by_pid = {story["pid"]: story for story in told["processes"]}
        assert set(by_pid) == {inside, sandbox}
        assert by_pid[inside]["container"]["service"] == "shop"
        (entity,) = by_pid[inside]["entities"]
        assert entity["layer"] == "K8S_SERVICE"
        assert by_pid[sandbox]["entities"] == []
        assert by_pid[sandbox]["remedy"]["text"]
        (alone,) = agent.ask(f"/explain?container={container_id(uid, 'app', 0)[:12]}")["processes"]
        assert alone["pid"] == inside
        assert "no pod shop/none is known" in agent.ask("/explain?pod=shop/none")["error"]
        overview = agent.ask("/status")
        assert overview["kubernetes"]["node"] == NODE
        assert [each["listed"] for each in overview["kubernetes"]["watches"]] == [True, True]
