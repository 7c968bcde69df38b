"""A node that is itself a container, as kind's are, with containers that runc makes in it.

The node has pid, mount and cgroup namespaces of its own and a cgroup as Docker names it. The
agent runs in it as a pod with `hostPID` does, with a cgroup namespace of its own below.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent_rig import RunningAgent, row_of, running
from kernel import needs
from namespace_rig import NEST, child_of, numbers_of

from bench.cluster.api import ApiServer
from bench.cluster.objects import NODE, container_id, pod, service, uid_of
from bench.rig.cgroup import entered, unified
from bench.rig.follower import kubeconfig
from rover.backend import EmbeddedBackend

pytestmark = [pytest.mark.kernel, needs("runc", "busybox")]

OUTER = "0f" * 32
"""The node's own id as a container of the host."""
OUTERMOST = "rover-test-node"
"""So that a Docker of the host has nothing to do with it."""

BECOME_A_NODE = """
mount --make-rprivate /
while mountpoint -q /sys/fs/cgroup; do umount -R -l /sys/fs/cgroup; done
mount -t cgroup2 none /sys/fs/cgroup
echo ready
exec sleep 600
"""
BECOME_A_POD = """
mkdir -p /sys/fs/cgroup/$0
echo 0 > /sys/fs/cgroup/$0/cgroup.procs
exec unshare --cgroup "$@"
"""


class KindNode:
    """The namespaces of a node, and what runc runs there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cgroup = unified() / OUTERMOST / "docker" / OUTER
        self.cgroup.mkdir(parents=True)
        self._unshare = subprocess.Popen(
            entered(self.cgroup, [*NEST, "--mount", "--cgroup", "sh", "-ec", BECOME_A_NODE]),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._unshare.stdout
        with self._unshare.stdout as said:
            assert said.readline() == "ready\n"
        self.pid = child_of(self._unshare.pid)

    def entered_by(self, *command: str) -> tuple[str, ...]:
        """Give a command that runs another in the node."""
        return ("nsenter", "--pid", "--mount", "--cgroup", "--target", str(self.pid), *command)

    def run(self, item: dict, name: str, *command: str) -> int:
        """Have runc run a container of a pod; return its pid as the node has it."""
        uid, it = item["metadata"]["uid"], container_id(item["metadata"]["uid"], name, 0)
        bundle = self.folder / it
        (bundle / "rootfs").mkdir(parents=True)
        shutil.copy("/bin/busybox", bundle / "rootfs" / command[0].strip("/"))
        namespaces = ("pid", "mount", "ipc", "cgroup")
        config = {
            "ociVersion": "1.0.2",
            "process": {"user": {"uid": 0, "gid": 0}, "args": command, "cwd": "/"},
            "root": {"path": "rootfs"},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {
                "cgroupsPath": f"/kubelet/kubepods/burstable/pod{uid}/{it}",
                "namespaces": [{"type": kind} for kind in namespaces],
            },
        }
        (bundle / "config.json").write_text(json.dumps(config))
        runc = ("runc", "--root", str(self.folder / "runc"), "run", "--detach")
        told = bundle / "pid"
        subprocess.run(
            self.entered_by(*runc, "--pid-file", str(told), "--bundle", str(bundle), it),
            check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=30,
        )  # fmt: skip
        return int(told.read_text())

    def kill(self, pid: int) -> None:
        subprocess.run(self.entered_by("kill", "-KILL", str(pid)), check=True)

    def close(self) -> None:
        """End the node, and with its first process all that runs in it."""
        os.kill(self.pid, signal.SIGKILL)
        self._unshare.wait(10)
        deadline = time.monotonic() + 10
        top = unified() / OUTERMOST
        while top.exists() and time.monotonic() < deadline:
            # what has been killed leaves its cgroup when it is reaped
            for folder, _, _ in os.walk(top, topdown=False):
                try:
                    Path(folder).rmdir()
                except OSError:
                    time.sleep(0.01)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[KindNode]:
    made = KindNode(tmp_path)
    yield made
    made.close()


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer() as server:
        server.put("services", service("shop", selector={"tier": "shop"}))
        yield server


def shop(name: str) -> dict:
    return pod(name, labels={"tier": "shop"})


@pytest.fixture
def agent(node: KindNode, api: ApiServer, tmp_path: Path) -> Iterator[RunningAgent]:
    prefix = "ROVER_PROCESS_DISCOVERY_KUBERNETES_"
    environment = {
        prefix + "ACTIVE": "true",
        prefix + "NODE_NAME": NODE,
        prefix + "KUBECONFIG": kubeconfig(tmp_path, api.url),
    }
    own = f"kubelet/kubepods/besteffort/pod{uid_of('skywalking-rover', 'rover')}/{'ab' * 32}"
    wrap = node.entered_by("sh", "-ec", BECOME_A_POD, own)
    with (
        EmbeddedBackend() as backend,
        running(backend, tmp_path, "--require-ebpf", wrap=wrap, environment=environment) as agent,
    ):
        yield agent
        os.kill(child_of(agent.pid), signal.SIGTERM)
        agent.process.wait(10)


def known(agent: RunningAgent) -> set[int]:
    return {each["pid"] for each in agent.ask("/processes")["processes"]}


def test_a_container_in_such_a_node_is_its_pods_by_events(
    node: KindNode, api: ApiServer, agent: RunningAgent, eventually: Callable
):
    eventually(lambda: "started version" in agent.log.read_text(), 30)
    items = [shop(f"shop-{number}") for number in range(5)]
    for item in items:
        api.put("pods", item)
    pids = [node.run(item, "app", "/sleep", "600") for item in items]
    for item, pid in zip(items, pids, strict=True):
        row = agent.wait_for(pid)
        assert row.entity.instance == item["metadata"]["name"]
        assert row.properties["container_name"] == "app"
        assert row.properties["command_line"] == "/sleep 600"
    for pid in pids:
        node.kill(pid)
    eventually(lambda: not known(agent) & set(pids))
    log = agent.log.read_text()
    assert "probes attached by=raw_tracepoints" in log
    assert "reconcile repaired" not in log


def test_the_agent_sees_containers_from_within_its_own_cgroup_namespace(
    node: KindNode, api: ApiServer, agent: RunningAgent, eventually: Callable
):
    eventually(lambda: "started version" in agent.log.read_text(), 30)
    item = shop("shop-0")
    api.put("pods", item)
    pid = node.run(item, "app", "/sleep", "601")
    agent.wait_for(pid)
    me = numbers_of(child_of(agent.pid))[-1]
    seen = subprocess.run(
        node.entered_by("nsenter", "--cgroup", "--target", str(me), "cat", f"/proc/{pid}/cgroup"),
        check=True, capture_output=True, text=True,
    ).stdout.splitlines()[-1]  # fmt: skip
    assert seen.startswith("0::/../../")
    assert row_of(agent.backend.state.snapshot(), pid).entity.instance == "shop-0"


def test_the_nodes_own_processes_are_no_pods(agent: RunningAgent, eventually: Callable):
    eventually(lambda: "started version" in agent.log.read_text(), 30)
    eventually(lambda: known(agent))
    assert 1 in known(agent)
    assert not agent.backend.state.snapshot().processes
