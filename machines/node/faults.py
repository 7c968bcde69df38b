"""What happens to a node: each fault is a claim, and the workloads are running meanwhile."""

from __future__ import annotations

import json
import os
import re
import signal
import textwrap
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from machines.attaching import PATIENCE, eventually
from machines.node.comparison import CONTAINER_ID, rows_of, shown
from machines.node.components import kubernetes_version
from machines.node.node import (
    ADDRESS_OF_BACKEND,
    NAMESPACE,
    Node,
    agents_log,
    deploy,
    rights_here,
    rolled_out,
)
from machines.node.place import run
from machines.node.workloads import pod, pod_spec, service
from rover.backend import EmbeddedBackend, StoredProcess

AWAY: Final = 60.0
"""Seconds without an API server."""
BEAT: Final = 5.0
"""Seconds between two of the agent's beats, set so that their end is soon seen."""
BY_HELM: Final = "the Helm chart"
NO_MORE: Final = 3 * BEAT
TOLD: Final = 160
"""Characters of a line of the log that go into the table."""
LONG: Final = 2 * PATIENCE
"""Seconds for what a kubelet does when it comes to it."""


@dataclass(frozen=True, slots=True)
class Site:
    """The node, and what its agent reports to."""

    node: Node
    backend: EmbeddedBackend

    def rows(self, namespace: str) -> list[StoredProcess]:
        """Return what there is of a namespace's services."""
        return rows_of(self.backend.state.snapshot().processes, namespace)

    def reported(self, namespace: str, process: str, *, but: int = 0) -> StoredProcess:
        """Wait for a process of a namespace, of another pid than one that was."""

        def there() -> StoredProcess | None:
            fitting = (row for row in self.rows(namespace) if row.entity.process == process)
            return next((row for row in fitting if row.visible and row.pid != but), None)

        found = eventually(there, f"{process} of {namespace} at the backend", LONG)
        assert isinstance(found, StoredProcess)
        return found

    def beats_of(self, namespace: str, *, since: float) -> None:
        """Wait for something said of a namespace later than a moment of the monotonic clock."""
        eventually(
            lambda: any(row.last_seen.monotonic > since for row in self.rows(namespace)),
            f"beats of {namespace}",
            LONG,
        )

    def new_pod(self, namespace: str) -> None:
        """Make a pod in a namespace of its own, and wait until it is reported."""
        make_namespace(self.node, namespace)
        item = {"apiVersion": "v1", "kind": "List", "items": [pod(pod_spec()), service()]}
        self.node.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(item))
        self.reported(namespace, "web")


def make_namespace(node: Node, name: str) -> None:
    """Make one; return when pods can be made in it."""
    node.kubectl("create", "namespace", name)

    def account() -> bool:
        try:
            node.kubectl("get", "-n", name, "serviceaccount/default")
        except RuntimeError:
            return False
        return True

    eventually(account, f"an account in {name}")


def ended_are_let_go(site: Site) -> str:
    """What has ended is kept alive no longer: an init container, a completed pod, a pod before."""
    ended = [
        row
        for name in ("init", "completed", "same-name-again")
        for row in site.rows(name)
        if not Path(f"/proc/{row.pid}").exists()
    ]
    assert ended, "nothing has ended"
    time.sleep(NO_MORE)  # beats of before
    before = {row.id: row.pings for row in ended}
    time.sleep(NO_MORE)
    rows = [row for row in site.backend.state.snapshot().processes if row.id in before]
    still = [shown(row) for row in rows if row.pings != before[row.id]]
    assert not still, f"kept alive: {still}"
    return f"ok, {len(ended)} of {len(ended)}"


def long_grace(site: Site) -> str:
    """A pod that is being deleted keeps its names until its processes are gone, and not longer."""
    row = site.reported("long-grace", "sh")
    site.node.kubectl("delete", "-n", "long-grace", "pod/pod", "--wait=false")
    eventually(
        lambda: any(
            each.pings > row.pings + 2
            for each in site.rows("long-grace")
            if each.id == row.id and Path(f"/proc/{row.pid}").exists()
        ),
        "beats while it shuts down",
    )
    eventually(lambda: not Path(f"/proc/{row.pid}").exists(), "its end", LONG)
    time.sleep(NO_MORE)
    (after,) = (each for each in site.rows("long-grace") if each.id == row.id)
    time.sleep(NO_MORE)
    (later,) = (each for each in site.rows("long-grace") if each.id == row.id)
    assert later.pings == after.pings, "kept alive after its end"
    return ""


def api_away(site: Site) -> str:
    """A minute without an API server, while a container ends, and a pod that is asked for after."""
    before = site.reported("several-containers", "worker")
    assert before.pid
    site.node.control_plane.api.stop(signal.SIGKILL)
    os.kill(before.pid, signal.SIGKILL)
    time.sleep(AWAY)
    kept = site.reported("several-containers", "web")
    assert time.monotonic() - kept.last_seen.monotonic < 2 * BEAT, "no beats without the API"
    site.node.control_plane.start_api()
    back = time.monotonic()
    row = site.reported("several-containers", "worker", but=before.pid)
    assert row.pid_since
    site.new_pod("after-the-api")
    return (
        f"ok, the container made meanwhile {row.pid_since.monotonic - back:.1f} s after its return"
    )


def agent_killed(site: Site) -> str:
    """SIGKILL to the agent: the kubelet starts it again, under the same id, and all is there."""
    before = site.reported("deployment", "web")
    os.kill(agents_pid(site.node), signal.SIGKILL)
    killed = time.monotonic()
    site.backend.state.forget()
    after = site.reported("deployment", "web")
    assert after.agent_id == before.agent_id, "another agent to the backend"
    site.new_pod("after-the-kill")
    return f"ok, reported again after {after.first_seen.monotonic - killed:.1f} s, the same id"


def agents_pid(node: Node) -> int:
    """Return the pid of the agent in its container."""
    (status,) = _agents_pod(node)["status"]["containerStatuses"]
    wanted = status["containerID"].partition("://")[2]
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            cgroup = (folder / "cgroup").read_text()
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if wanted in CONTAINER_ID.findall(cgroup) and b"\0start\0" in command:
            return int(folder.name)
    raise AssertionError(f"no agent in {wanted}")


def _agents_pod(node: Node) -> Any:  # noqa: ANN401 - as the API has it
    pods = node.kubectl.get("-n", NAMESPACE, "pods")["items"]
    (living,) = (each for each in pods if "deletionTimestamp" not in each["metadata"])
    return living


def containerd_restarted(site: Site) -> str:
    """The runtime away and back: nothing is told again, a new pod is."""
    before = site.reported("deployment", "web")
    site.node.runtime.containerd.stop()
    site.node.runtime.start_containerd()
    site.new_pod("after-containerd")
    after = site.reported("deployment", "web")
    assert (after.pid, after.pid_since) == (before.pid, before.pid_since)
    return ""


def role_taken_away(site: Site) -> str:
    """Without its binding the log names what is missing; given back, it goes on by itself."""
    site.node.kubectl("delete", "clusterrolebinding/skywalking-rover")
    site.node.control_plane.api.stop()
    site.node.control_plane.start_api()
    said = wait_for_log(site.node, r"[^\n]*(?:forbidden|403)[^\n]*", LONG)
    kept = site.reported("deployment", "web")
    assert time.monotonic() - kept.last_seen.monotonic < 2 * BEAT, "no beats without the role"
    deploy(site.node, {"ROVER_PROCESS_DISCOVERY_HEARTBEAT_PERIOD": f"{BEAT:g}s"})
    site.new_pod("after-the-role")
    return f"ok, told: {_event(said)}"


def token_refused(site: Site) -> str:
    """Every token so far is refused; the kubelet brings another, and the agent reads it."""
    plane = site.node.control_plane
    plane.new_account_keys()
    plane.api.stop()
    plane.start_api()
    plane.controllers.stop()
    plane.controllers.start()
    said = wait_for_log(site.node, r"[^\n]*(?:401|[Uu]nauthorized)[^\n]*", LONG)
    site.node.runtime.kubelet.stop()  # it keeps tokens until they are old
    site.node.runtime.start_kubelet()
    since = time.monotonic()
    site.new_pod("after-the-token")
    took = time.monotonic() - since
    return f"ok, new pods {took:.0f} s after the kubelet; told: {_event(said)}"


def node_restarted(site: Site) -> str:
    """Every container and the runtime gone at once, and started again by the kubelet."""
    before = site.reported("daemonset", "web")
    agent = site.reported("deployment", "web").agent_id
    site.node.runtime.stop()
    for shim in shims():
        os.kill(shim, signal.SIGKILL)
    kill_containers(site.node)
    site.node.runtime.start_containerd()
    site.node.runtime.start_kubelet()
    after = site.reported("daemonset", "web", but=before.pid or 0)
    again = ("deployment", "statefulset", "static", "shared-pid", "host-network")
    eventually(lambda: all(all_live(site, name) for name in again), f"all of {again} living", LONG)
    assert after.agent_id == agent, "another agent to the backend"
    site.new_pod("after-the-restart")
    return ""


def all_live(site: Site, namespace: str) -> bool:
    """Tell whether every row of a namespace is of a process that lives."""
    return all(Path(f"/proc/{row.pid}").exists() for row in site.rows(namespace) if row.visible)


def shims() -> list[int]:
    """Return the pids of this node's shims, which hold its containers."""
    mine = Path("/proc/self/ns/mnt").readlink()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name = (folder / "comm").read_text()
            mounts = (folder / "ns/mnt").readlink()
        except OSError:
            continue
        if name.startswith("containerd-shim") and mounts == mine:
            found.append(int(folder.name))
    return found


def kill_containers(node: Node) -> None:
    """End every process of the node's containers."""
    pods = node.kubectl.get("pods", "--all-namespaces")["items"]
    uids = {each["metadata"]["uid"] for each in pods} | {
        each["metadata"].get("annotations", {}).get("kubernetes.io/config.hash", "-")
        for each in pods
    }
    wanted = {each for uid in uids for each in (f"pod{uid}", f"pod{uid.replace('-', '_')}")}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            cgroup = (folder / "cgroup").read_text()
        except OSError:
            continue
        if wanted & set(re.findall(r"pod[0-9a-f_-]+", cgroup)):
            os.kill(int(folder.name), signal.SIGKILL)


def namespaces_filter(site: Site) -> str:
    """With a list of namespaces nothing of any other is reported."""
    beat = {"ROVER_PROCESS_DISCOVERY_HEARTBEAT_PERIOD": f"{BEAT:g}s"}
    deploy(site.node, {**beat, "ROVER_PROCESS_DISCOVERY_KUBERNETES_NAMESPACES": "deployment,job"})
    site.beats_of("deployment", since=time.monotonic())
    site.beats_of("job", since=time.monotonic())
    since = time.monotonic()
    time.sleep(NO_MORE)
    found = site.backend.state.snapshot().processes
    others = [
        shown(row)
        for row in found
        if row.last_seen.monotonic > since
        and not re.search(r"\.(deployment|job)$", row.entity.service)
    ]
    deploy(site.node, beat)
    assert not others, f"reported as well: {others}"
    site.beats_of("statefulset", since=time.monotonic())
    return ""


def by_helm(site: Site) -> str:
    """The chart's objects in place of the kustomization's: rolled out, and reporting."""
    node = site.node
    node.kubectl("delete", "-k", str(node.place.scratch / "my-rover"), "--timeout=300s")
    node.kubectl("create", "namespace", NAMESPACE)
    node.kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=privileged")
    made = run(
        *("helm", "template", "rover", str(node.place.scratch / "deploy/helm/rover")),
        *("--namespace", NAMESPACE, "--set", f"backend.address={ADDRESS_OF_BACKEND}"),
        *("--set", f"capabilities={{{','.join(rights_here())}}}"),
        f"--kube-version={kubernetes_version()}",
    )
    node.kubectl("apply", "-n", NAMESPACE, "-f", "-", stdin=made)
    rolled_out(node)
    site.beats_of("deployment", since=time.monotonic())
    site.new_pod("after-helm")
    return ""


def wait_for_log(node: Node, text: str, within: float) -> str:
    """Wait until the agent's log matches; return the match."""
    found = eventually(lambda: re.search(text, agents_log(node)), f"{text} in the log", within)
    assert isinstance(found, re.Match)
    return str(found.group())


def _event(line: str) -> str:
    """Return what a line of the log says, without its time."""
    return textwrap.shorten(line.partition(" WARNING ")[2] or line, TOLD, placeholder=" ...")


def figures(site: Site) -> str:
    """What the agent takes in its pod."""
    address = _agents_pod(site.node)["status"]["podIP"]
    with urllib.request.urlopen(f"http://{address}:9464/metrics", timeout=10) as answer:
        metrics = answer.read().decode()
    read = {
        name: float(value)
        for name, value in re.findall(r"^(process_\w+) (\S+)$", metrics, re.MULTILINE)
    }
    lived = time.time() - read["process_start_time_seconds"]
    resident = read["process_resident_memory_bytes"] / 2**20
    return (
        f"ok, {resident:.0f} MiB resident, {read['process_cpu_seconds_total']:.1f} s of CPU in "
        f"{lived:.0f} s, its start included"
    )


FAULTS: Final[dict[str, Callable[[Site], str]]] = {
    "the agent in its pod": figures,
    "what has ended is let go": ended_are_let_go,
    "long grace, while it shuts down": long_grace,
    "the API server away for a minute": api_away,
    "the agent killed": agent_killed,
    "containerd restarted": containerd_restarted,
    "the role taken away and given back": role_taken_away,
    "a filter on namespaces": namespaces_filter,
    "all containers and the runtime restarted": node_restarted,
    "every token refused": token_refused,
    BY_HELM: by_helm,
}
