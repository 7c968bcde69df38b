"""The chart makes the objects of the kustomization, and those that its values ask for beside."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from rover import __version__
from rover.config.keys import all_keys

DEPLOY = Path(__file__).parents[3] / "deploy"
CHART = DEPLOY / "helm" / "rover"
NAMESPACE = "skywalking-rover"
HELMS_LABELS = {"app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "helm.sh/chart"}
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VERSIONS = ("1.30", "1.37")

helm = pytest.mark.skipif(not shutil.which("helm"), reason="helm is not installed")

Objects = dict[tuple[str, str], dict[str, Any]]


def run_helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["helm", *arguments], capture_output=True, text=True, check=False)


def rendered(tmp_path: Path, values: dict[str, Any] | None = None) -> Objects:
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values or {}))
    said = run_helm(
        "template", "rover", str(CHART), "--namespace", NAMESPACE, "--kube-version", "1.31.0",
        "--values", str(file),
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    return by_name(yaml.safe_load_all(said.stdout))


def by_name(objects: Any) -> Objects:
    return {(item["kind"], item["metadata"]["name"]): item for item in objects if item}


def kustomized() -> Objects:
    listed = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())["resources"]
    return by_name(
        item for name in listed for item in yaml.safe_load_all((DEPLOY / name).read_text())
    )


def without_helms_own(item: dict[str, Any]) -> dict[str, Any]:
    labels = item["metadata"]["labels"]
    assert labels.keys() >= HELMS_LABELS
    for label in HELMS_LABELS:
        del labels[label]
    if item["kind"] == "DaemonSet":
        del item["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
    return item


def container(objects: Objects) -> dict[str, Any]:
    (only,) = objects["DaemonSet", "rover"]["spec"]["template"]["spec"]["containers"]
    return only


def variables(objects: Objects) -> dict[str, str]:
    return {each["name"]: each.get("value", "") for each in container(objects)["env"]}


@helm
def test_its_objects_are_those_of_the_kustomization_but_for_the_namespace(tmp_path: Path):
    expected = kustomized()
    del expected["Namespace", NAMESPACE]
    made = {name: without_helms_own(item) for name, item in rendered(tmp_path).items()}
    assert made.keys() == expected.keys()
    for name, item in made.items():
        assert item == expected[name], name


@helm
def test_helm_has_nothing_to_say_against_it():
    said = run_helm("lint", "--strict", "--kube-version", "1.31.0", str(CHART))
    assert said.returncode == 0, said.stdout + said.stderr


EVERYTHING: dict[str, Any] = {
    "image": {"repository": "r.example.org/rover", "tag": "9", "pullPolicy": "Always",
              "pullSecrets": [{"name": "registry"}]},
    "backend": {
        "address": "a:1,b:2",
        "authentication": {"secretName": "oap"},
        "tls": {"enabled": True, "secretName": "certificates", "certKey": "tls.crt",
                "keyKey": "tls.key"},
    },
    "clusterName": "east",
    "env": [{"name": "ROVER_LOGGER_FORMAT", "value": "json"}],
    "hostNetwork": True,
    "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    "serviceAccount": {"annotations": {"a": "b"}},
    "affinity": {"nodeAffinity": {}},
    "podLabels": {"team": "observability"},
    "podAnnotations": {"note": "x"},
    "volumes": [{"name": "extra", "emptyDir": {}}],
    "volumeMounts": [{"name": "extra", "mountPath": "/extra"}],
}  # fmt: skip
OF_THE_OPERATOR = {"PodMonitor", "PrometheusRule"}


@helm
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["default", "everything"])
def test_every_object_is_valid_whatever_is_asked_for(
    tmp_path: Path, values: dict[str, Any], version: str
):
    for item in rendered(tmp_path, values).values():
        if item["kind"] not in OF_THE_OPERATOR:
            assert kubernetes_validate.validate(item, version, strict=True) == version


@helm
def test_credentials_are_mounted_where_the_variables_say(tmp_path: Path):
    objects = rendered(tmp_path, EVERYTHING)
    told = variables(objects)
    mounted = {each["name"]: each["mountPath"] for each in container(objects)["volumeMounts"]}
    assert told["ROVER_BACKEND_AUTHENTICATION_FILE"] == f"{mounted['token']}/token"
    assert told["ROVER_BACKEND_CA_PEM_PATH"] == f"{mounted['tls']}/ca.crt"
    assert told["ROVER_BACKEND_PEM_PATH"] == f"{mounted['tls']}/tls.crt"
    assert told["ROVER_BACKEND_KEY_PATH"] == f"{mounted['tls']}/tls.key"
    assert told["ROVER_BACKEND_ENABLE_TLS"] == "true"
    volumes = objects["DaemonSet", "rover"]["spec"]["template"]["spec"]["volumes"]
    assert mounted.keys() == {volume["name"] for volume in volumes}


@helm
def test_every_variable_that_it_sets_is_one_of_the_agents(tmp_path: Path):
    known = {setting.key.env for setting in all_keys()}
    assert variables(rendered(tmp_path, EVERYTHING)).keys() <= known


@helm
def test_a_changed_configuration_starts_the_agents_anew(tmp_path: Path):
    def checksum(values: dict[str, Any]) -> str:
        template = rendered(tmp_path, values)["DaemonSet", "rover"]["spec"]["template"]
        return template["metadata"]["annotations"]["checksum/config"]

    assert checksum({}) != checksum({"config": "core: {cluster_name: x}"})


@helm
def test_what_is_switched_off_is_left_out(tmp_path: Path):
    off = {
        "networkPolicy": {"enabled": False},
        "priorityClass": {"create": False, "name": "system-node-critical"},
        "rbac": {"create": False},
        "serviceAccount": {"create": False, "name": "theirs"},
        "scrapeAnnotations": False,
        "appArmorProfile": None,
    }
    objects = rendered(tmp_path, off)
    assert {kind for kind, _ in objects} == {"ConfigMap", "DaemonSet"}
    template = objects["DaemonSet", "rover"]["spec"]["template"]
    assert template["spec"]["serviceAccountName"] == "theirs"
    assert template["spec"]["priorityClassName"] == "system-node-critical"
    assert "appArmorProfile" not in template["spec"]["securityContext"]
    assert template["metadata"]["annotations"].keys() == {"checksum/config"}


@helm
def test_a_network_policy_without_peers_lets_nobody_in(tmp_path: Path):
    policy = rendered(tmp_path, {"networkPolicy": {"from": []}})["NetworkPolicy", "rover"]
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    assert "ingress" not in policy["spec"]


@helm
def test_its_monitor_and_alerts_are_those_of_the_files(tmp_path: Path):
    objects = rendered(tmp_path, EVERYTHING)
    monitor = yaml.safe_load((DEPLOY / "prometheus" / "podmonitor.yaml").read_text())
    assert objects["PodMonitor", "rover"]["spec"] == monitor["spec"]
    rules = yaml.safe_load((DEPLOY / "prometheus" / "rules.yaml").read_text())
    assert objects["PrometheusRule", "rover"]["spec"] == rules
    for kind in OF_THE_OPERATOR:
        assert objects[kind, "rover"]["metadata"]["labels"]["release"] == "prometheus"


@helm
@pytest.mark.parametrize(
    "wrong",
    [
        "backend.adress=a:1",
        "backend.address=somewhere",
        "statusPort=x",
        "image.pullPolicy=Sometimes",
        "podMonitor.interval=often",
        "nonsense=1",
    ],
)
def test_a_value_that_is_none_is_refused_by_its_name(wrong: str):
    said = run_helm("template", str(CHART), "--kube-version", "1.31.0", "--set", wrong)
    assert said.returncode != 0
    assert wrong.partition("=")[0].rpartition(".")[2] in said.stderr


def test_the_schema_takes_the_defaults_and_knows_each_of_them():
    jsonschema.validate(VALUES, SCHEMA)
    assert VALUES.keys() == SCHEMA["properties"].keys() - {"global"}
    assert SCHEMA["additionalProperties"] is False


def test_chart_and_image_have_the_agents_version():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__


def test_the_document_names_values_that_there_are():
    text = (DEPLOY.parent / "docs" / "kubernetes.md").read_text()
    for name in re.findall(r"--set (?:'|\")?([\w.]+)=", text):
        at: Any = VALUES
        for part in name.split("."):
            assert part in at, name
            at = at[part]
