"""docs/kubernetes.md says what deploy/ and the code have."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from bench.cluster.objects import NODE
from bench.rig.container import Container
from bench.rig.manifest import manifest
from rover.config.analyzers import variables
from rover.config.keys import all_keys

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "kubernetes.md").read_text()
ROVERS_OWN = {"ROVER_HOST_MAPPING", "ROVER_HOST_PROC_MAPPING", "ROVER_HOST_ETC_MAPPING"}
"""Variables of SkyWalking Rover's manifests that the document tells to leave out."""


def test_every_variable_that_it_names_is_known():
    known = {setting.key.env for setting in all_keys()} | set(variables()) | ROVERS_OWN
    assert set(re.findall(r"ROVER_[A-Z0-9_]+", TEXT)) <= known


def test_it_explains_each_capability_of_the_manifest_and_no_other():
    explained = re.findall(r"^\| capability `([A-Z_]+)` ", TEXT, re.MULTILINE)
    assert sorted(explained) == sorted(Container.of_manifest(NODE).capabilities)


def test_it_explains_each_volume_but_the_configuration():
    explained = set(re.findall(r"^\| volume `([a-z]+)` ", TEXT, re.MULTILINE))
    volumes = manifest("DaemonSet")["spec"]["template"]["spec"]["volumes"]
    assert explained == {volume["name"] for volume in volumes} - {"config"}


def test_its_kustomization_changes_what_is_there():
    (text,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    overlay = yaml.safe_load(text)
    assert overlay["resources"] == ["../deploy"]
    daemonset = manifest("DaemonSet")
    (container,) = daemonset["spec"]["template"]["spec"]["containers"]
    assert overlay["images"][0]["name"] == container["image"].partition(":")[0]
    patch = yaml.safe_load(overlay["patches"][0]["patch"])
    assert patch["metadata"].items() <= daemonset["metadata"].items()
    (patched,) = patch["spec"]["template"]["spec"]["containers"]
    assert patched["name"] == container["name"]


def test_commands_speak_of_the_names_in_the_manifest():
    name, namespace = (manifest("DaemonSet")["metadata"][key] for key in ("name", "namespace"))
    assert f"kubectl -n {namespace} rollout status daemonset/{name}" in TEXT
    account = manifest("ServiceAccount")["metadata"]["name"]
    assert f"add-scc-to-user privileged -z {account} -n {namespace}" in TEXT
