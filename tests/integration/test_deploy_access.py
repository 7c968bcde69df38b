"""The ClusterRole of deploy/daemonset.yaml allows what the agent asks of the API, and no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from node_rig import Cluster

from bench.cluster.objects import container_id, owner_object, pod
from bench.rig.manifest import manifest
from bench.rig.node import Node

pytestmark = pytest.mark.kernel

BY_OWNER = """
process_discovery:
  kubernetes:
    active: true
    analyzers:
      - layer: K8S_SERVICE
        service_name: '{{.Pod.OwnerName "Deployment,CronJob"}}'
"""
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete")


def allowed() -> set[tuple[str, str]]:
    return {
        (verb, resource)
        for rule in manifest("ClusterRole")["rules"]
        for verb in rule["verbs"]
        for resource in rule["resources"]
    }


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster.running(tmp_path) as cluster:
        resources = {"pods", "services", "replicasets", "jobs", "nodes", "deployments", "cronjobs"}
        everything = {(verb, resource) for verb in VERBS for resource in resources}
        cluster.api.denied = everything - allowed()
        yield cluster


@pytest.fixture
def node() -> Iterator[Node]:
    with Node() as node:
        yield node


def run(cluster: Cluster, node: Node, name: str, owner: tuple[str, str]) -> int:
    item = pod(name, owner=owner)
    cluster.api.put("pods", item)
    uid = item["metadata"]["uid"]
    cgroup = f"/kubepods/besteffort/pod{uid}/{container_id(uid, 'app', 0)}"
    return node.run(cgroup, "/bin/sleep", "600")


def asked(cluster: Cluster) -> set[tuple[str, str]]:
    with cluster.api.changed:
        return {(verb, resource) for verb, resource, _ in cluster.api.requests}


def test_the_verbs_of_the_role_are_those_that_the_agent_uses(
    cluster: Cluster, node: Node, eventually: Callable[..., object]
):
    cluster.api.put("replicasets", owner_object("ReplicaSet", "web-5d", ("Deployment", "web")))
    cluster.api.put("jobs", owner_object("Job", "nightly-1", ("CronJob", "nightly")))
    pids = [
        run(cluster, node, "web-5d-1", ("ReplicaSet", "web-5d")),
        run(cluster, node, "nightly-1-1", ("Job", "nightly-1")),
    ]
    # without the downward API the agent asks for its own pod
    nameless = {"ROVER_PROCESS_DISCOVERY_KUBERNETES_NODE_NAME": ""}
    with cluster.pod(config=BY_OWNER, env=nameless) as agent:
        for pid in pids:
            assert agent.wait_for(pid).kind == "KUBERNETES"
        eventually(lambda: cluster.api.watching() == 2)
    services = {service.name for service in cluster.backend.state.snapshot().services}
    assert services == {"web", "nightly"}
    assert asked(cluster) == allowed()
    assert "RBAC" not in agent.log.read_text()


def test_as_the_manifest_is_the_agent_asks_for_no_single_object(
    cluster: Cluster, eventually: Callable[..., object]
):
    with cluster.pod() as agent:
        eventually(lambda: cluster.api.watching() == 2, 20)
    listing = {("list", "pods"), ("watch", "pods"), ("list", "services"), ("watch", "services")}
    assert asked(cluster) == listing
    assert "RBAC" not in agent.log.read_text()


def test_a_missing_verb_is_named(cluster: Cluster, eventually: Callable[..., object]):
    cluster.api.denied.add(("list", "services"))
    with cluster.pod() as agent:
        eventually(lambda: "RBAC" in agent.log.read_text(), 20)
    assert "allow the verb list on services in its ClusterRole" in agent.log.read_text()
