"""Objects of the API cut down to records."""

from __future__ import annotations

import contextlib
import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.k8s.objects import (
    MalformedObjectError,
    describe,
    owner_refs,
    pod_record,
    resource_version,
    service_record,
)
from rover.k8s.records import ContainerRecord, OwnerRef, ServiceRecord, bare_id

POD = {
    "metadata": {
        "name": "web-1",
        "namespace": "shop",
        "uid": "u-1",
        "resourceVersion": "42",
        "labels": {"app": "web", "tier": "front"},
        "ownerReferences": [
            {
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "name": "web-abc",
                "uid": "r-1",
                "controller": True,
            }
        ],
    },
    "spec": {
        "nodeName": "node-1",
        "containers": [
            {
                "name": "app",
                "env": [
                    {"name": "A", "value": "1"},
                    {"name": "EMPTY"},
                    {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s"}}},
                ],
            },
            {"name": "istio-proxy"},
        ],
        "initContainers": [{"name": "setup"}, {"name": "logs", "restartPolicy": "Always"}],
        "ephemeralContainers": [{"name": "debug", "targetContainerName": "app"}],
    },
    "status": {
        "podIP": "10.0.0.1",
        "hostIP": "192.168.0.1",
        "containerStatuses": [
            {
                "name": "app",
                "containerID": "containerd://a2",
                "lastState": {"terminated": {"containerID": "containerd://a1"}},
            },
            {"name": "istio-proxy", "state": {"waiting": {}}},
        ],
        "initContainerStatuses": [
            {"name": "setup", "containerID": "containerd://s1"},
            {"name": "logs", "containerID": "containerd://l1"},
        ],
        "ephemeralContainerStatuses": [{"name": "debug", "containerID": "containerd://d1"}],
    },
}


def changed(**parts):
    pod = copy.deepcopy(POD)
    for part, fields in parts.items():
        pod[part].update(fields)
    return pod


def test_a_pod_is_cut_down_to_what_names_ask_for():
    pod = pod_record(POD, with_env=True)
    assert (pod.namespace, pod.name, pod.uid, pod.node) == ("shop", "web-1", "u-1", "node-1")
    assert (pod.pod_ip, pod.host_ip) == ("10.0.0.1", "192.168.0.1")
    assert pod.labels == {"app": "web", "tier": "front"}
    assert pod.owners == (OwnerRef("apps/v1", "ReplicaSet", "web-abc", "r-1"),)


def test_containers_of_every_kind_are_known_with_their_former_run():
    assert pod_record(POD, with_env=False).containers == (
        ContainerRecord("app", "containerd://a2", "containerd://a1"),
        ContainerRecord("istio-proxy"),
        ContainerRecord("setup", "containerd://s1"),
        ContainerRecord("logs", "containerd://l1"),
        ContainerRecord("debug", "containerd://d1"),
    )
    assert pod_record(POD, with_env=False).containers[0].ids == ("a2", "a1")


def test_only_variables_with_a_literal_value_are_kept_and_only_on_demand():
    app = pod_record(POD, with_env=True).container("app")
    assert app.env == (("A", "1"), ("EMPTY", ""))
    assert pod_record(POD, with_env=False).container("app").env == ()


def test_of_two_variables_of_one_name_the_later_counts():
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}, {"name": "A", "value": "3"}]
    pod = changed(spec={"containers": [{"name": "app", "env": env}]})
    assert dict(pod_record(pod, with_env=True).container("app").env) == {"A": "3", "B": "2"}
    env[2] = {"name": "A", "valueFrom": {"fieldRef": {}}}
    assert dict(pod_record(pod, with_env=True).container("app").env) == {"B": "2"}


@pytest.mark.parametrize("name", ["kubernetes.io/config.hash", "kubernetes.io/config.mirror"])
def test_a_static_pods_paths_bear_the_hash_of_its_configuration(name):
    assert pod_record(POD, with_env=False).path_uid == "u-1"
    static = changed(metadata={"annotations": {name: "d8992f"}})
    assert pod_record(static, with_env=False).path_uid == "d8992f"


def test_a_status_without_its_specification_counts():
    pod = changed(spec={"containers": None, "initContainers": [], "ephemeralContainers": None})
    names = [container.name for container in pod_record(pod, with_env=False).containers]
    assert names == ["app", "setup", "logs", "debug"]


@pytest.mark.parametrize("field", ["name", "namespace"])
@pytest.mark.parametrize("value", [None, "", 7, ["x"]])
def test_a_pod_that_cannot_be_told_from_others_is_refused(field, value):
    with pytest.raises(MalformedObjectError, match=field):
        pod_record(changed(metadata={field: value}), with_env=False)


@pytest.mark.parametrize(
    ("selector", "kept"),
    [
        ({"b": "2", "a": "1"}, (("a", "1"), ("b", "2"))),
        ({}, ()),
        (None, ()),
        ({"a": 7, "b": "2"}, (("b", "2"),)),
        ("a=1", ()),
    ],
)
def test_a_service_is_its_name_and_selector(selector, kept):
    service = {"metadata": {"namespace": "shop", "name": "web"}, "spec": {"selector": selector}}
    assert service_record(service) == ServiceRecord("shop", "web", kept)


def test_an_owner_that_is_not_the_controller_is_marked():
    reference = {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "x"}
    (owner,) = owner_refs({"ownerReferences": [{**reference, "controller": False}]})
    assert not owner.controls
    (owner,) = owner_refs({"ownerReferences": [reference]})
    assert owner.controls


@pytest.mark.parametrize("broken", [{}, {"kind": "X"}, {"kind": "X", "name": "n"}, None, 7])
def test_a_broken_owner_reference_is_passed_over(broken):
    assert owner_refs({"ownerReferences": [broken]}) == ()


@pytest.mark.parametrize(
    ("status_id", "bare"),
    [
        ("containerd://ab", "ab"),
        ("cri-o://ab", "ab"),
        ("docker://ab", "ab"),
        ("ab", "ab"),
        ("", ""),
    ],
)
def test_a_container_id_loses_its_scheme(status_id, bare):
    assert bare_id(status_id) == bare


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=20,
)
NAMES = ("metadata", "spec", "status", "name", "namespace", "uid", "labels", "containers", "env")
OBJECTS = st.recursive(
    JSON,
    lambda inner: st.dictionaries(
        st.sampled_from([*NAMES, "ownerReferences", "containerStatuses", "lastState"]), inner
    ),
    max_leaves=20,
)


@given(OBJECTS)
def test_no_object_does_worse_than_be_refused(item):
    for cut in (lambda: pod_record(item, with_env=True), lambda: service_record(item)):
        with contextlib.suppress(MalformedObjectError):
            cut()
    assert isinstance(describe(item), str)
    assert isinstance(resource_version(item), str)
