"""What deploy/ holds is what Kubernetes takes, and hangs together."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from bench.cluster.objects import NODE
from bench.rig.container import Container
from bench.rig.manifest import manifest, objects, quantity
from rover import __version__
from rover.config.load import load
from rover.status.site import PortSite

DEPLOY = Path(__file__).parents[3] / "deploy"
VERSIONS = ("1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37")
"""Of Kubernetes: from the first that knows appArmorProfile."""


def pod_spec() -> dict[str, Any]:
    return manifest("DaemonSet")["spec"]["template"]["spec"]


def container() -> dict[str, Any]:
    (only,) = pod_spec()["containers"]
    return only


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_valid_and_has_no_unknown_field(version: str):
    for item in objects():
        assert kubernetes_validate.validate(item, version, strict=True) == version


def test_the_check_finds_an_unknown_field():
    item = deepcopy(manifest("DaemonSet"))
    item["spec"]["template"]["spec"]["hostPid"] = True
    with pytest.raises(kubernetes_validate.ValidationError, match="hostPid"):
        kubernetes_validate.validate(item, VERSIONS[-1], strict=True)


def test_the_kustomization_lists_the_manifests_that_there_are():
    listed = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())["resources"]
    manifests = {
        path.name
        for path in DEPLOY.glob("*.yaml")
        if path.name != "kustomization.yaml" and "apiVersion:" in path.read_text()
    }
    assert sorted(listed) == sorted(manifests)


def test_names_lead_to_objects_that_there_are():
    named = {(item["kind"], item["metadata"]["name"]) for item in objects()}
    spec, binding = pod_spec(), manifest("ClusterRoleBinding")
    namespace = manifest("Namespace")["metadata"]["name"]
    (subject,) = binding["subjects"]
    assert {
        ("ServiceAccount", spec["serviceAccountName"]),
        ("PriorityClass", spec["priorityClassName"]),
        ("ConfigMap", spec["volumes"][0]["configMap"]["name"]),
        (binding["roleRef"]["kind"], binding["roleRef"]["name"]),
        (subject["kind"], subject["name"]),
    } <= named
    assert subject["namespace"] == namespace
    cluster_wide = {"Namespace", "PriorityClass", "ClusterRole", "ClusterRoleBinding"}
    for item in objects():
        expected = None if item["kind"] in cluster_wide else namespace
        assert item["metadata"].get("namespace") == expected, item["kind"]


def test_what_depends_on_each_other_within_the_daemonset_agrees():
    spec, template = pod_spec(), manifest("DaemonSet")["spec"]["template"]
    selector = manifest("DaemonSet")["spec"]["selector"]["matchLabels"]
    assert selector.items() <= template["metadata"]["labels"].items()
    mounted = [mount["name"] for mount in container()["volumeMounts"]]
    assert mounted == [volume["name"] for volume in spec["volumes"]]
    (port,) = container()["ports"]
    assert template["metadata"]["annotations"]["prometheus.io/port"] == str(port["containerPort"])
    address = Container.of_manifest(NODE).env["ROVER_STATUS_ADDR"]
    assert address == f":{port['containerPort']}"
    assert container()["image"] == f"rover:{__version__}"


@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe", "readinessProbe"])
def test_probes_ask_for_what_the_agent_answers(probe: str):
    get = container()[probe]["httpGet"]
    assert get["port"] == container()["ports"][0]["name"]
    assert get["path"] in PortSite.PATHS
    annotations = manifest("DaemonSet")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] in PortSite.PATHS


@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe", "readinessProbe"])
def test_probes_wait_for_an_answer_that_comes_after_those_of_a_flood(probe: str):
    assert container()[probe]["timeoutSeconds"] >= 5


def test_the_network_policy_opens_the_status_port_of_the_agents_pods_alone():
    policy = yaml.safe_load((DEPLOY / "networkpolicy.yaml").read_text())
    for version in VERSIONS:
        assert kubernetes_validate.validate(policy, version, strict=True) == version
    assert policy["metadata"]["namespace"] == manifest("Namespace")["metadata"]["name"]
    selected = policy["spec"]["podSelector"]["matchLabels"]
    template = manifest("DaemonSet")["spec"]["template"]
    assert selected.items() <= template["metadata"]["labels"].items()
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    (rule,) = policy["spec"]["ingress"]
    (port,) = container()["ports"]
    assert rule["ports"] == [{"protocol": "TCP", "port": port["name"]}]
    assert rule["from"]


def test_nothing_is_shared_with_the_host_but_what_the_agent_needs():
    spec, security = pod_spec(), container()["securityContext"]
    assert spec["hostPID"] is True
    assert not {"hostNetwork", "hostIPC"} & spec.keys()
    assert security["privileged"] is False
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"]["drop"] == ["ALL"]
    writable = [mount["name"] for mount in container()["volumeMounts"] if not mount.get("readOnly")]
    assert writable == ["state"]


def test_the_configuration_loads_with_the_daemonsets_variables(tmp_path: Path):
    file = tmp_path / "rover.yaml"
    file.write_text(manifest("ConfigMap")["data"]["rover.yaml"])
    loaded = load(file, Container.of_manifest(NODE).env)
    assert loaded.warnings == ()
    assert loaded.ignored == ()
    kubernetes = loaded.settings.process_discovery.kubernetes
    assert (kubernetes.active, kubernetes.node_name) == (True, NODE)
    assert loaded.settings.core.backend.addr == "oap.skywalking:11800"
    assert loaded.settings.core.cluster_name == ""
    assert len(kubernetes.analyzers) == 3
    assert loaded.settings.core.state_dir in {
        mount.path for mount in Container.of_manifest(NODE).mounts if not mount.read_only
    }


def test_the_configuration_is_where_the_command_looks_for_it():
    (config,) = [each for each in Container.of_manifest(NODE).mounts if "configMap" in each.source]
    (name,) = manifest("ConfigMap")["data"]
    assert Container.of_manifest(NODE).command[-2:] == ("--config", f"{config.path}/{name}")


def test_memory_that_is_asked_for_is_below_the_limit():
    resources = container()["resources"]
    asked, limit = resources["requests"]["memory"], resources["limits"]["memory"]
    assert quantity(asked) < quantity(limit)
