"""For every reason there is a first cause and the line to change, and the trail leads to it."""

from __future__ import annotations

import json

import pytest
import stories
from pod_rig import ID, UID, analyzer, pod, process
from stories import (
    FILE,
    IN_POD,
    LISTED,
    MESH,
    ON_HOST,
    OTHER,
    YOUNGER,
    Sensor,
    cluster,
    host,
    in_pod,
    regex,
    told,
    unjudged,
)

from rover.config.settings import ScanMode
from rover.explain.question import Question
from rover.k8s.records import ContainerRecord, OwnerRef, PodSeen, PodsListed
from rover.model import Reason
from rover.naming.pods import join

OWNER = OwnerRef("apps/v1", "ReplicaSet", "web-1", "u", controls=True)
SANDBOX = process(8, cgroup=in_pod(OTHER), name="pause", command_line="/pause")
DOCKER = process(9, cgroup=f"0::/system.slice/docker-{OTHER}.scope\n")

CASES = {
    "reported": (lambda: told(host(), ON_HOST), Reason.REPORTED, None),
    "follows": (
        lambda: told(host(), YOUNGER, ON_HOST),
        Reason.FOLLOWS,
        ("pid 42 has the same names and is older", "process_discovery.scanner.regex", f"{FILE}:11"),
    ),
    "follows by a regex": (
        lambda: told(host(regex("java")), YOUNGER, ON_HOST),
        Reason.FOLLOWS,
        ("add {{.Process.Pid}}", "process_discovery.scanner.regex[0].process_name", f"{FILE}:13"),
    ),
    "pending": (
        lambda: told(host(sensor=Sensor(pending=True)), ON_HOST),
        Reason.PENDING,
        ("wait a second or two", "", ""),
    ),
    "kernel thread": (
        lambda: unjudged(Reason.KERNEL_THREAD),
        Reason.KERNEL_THREAD,
        ("never reported", "", ""),
    ),
    "self": (lambda: unjudged(Reason.SELF), Reason.SELF, ("never reports itself", "", "")),
    "defect": (lambda: unjudged(Reason.DEFECT), Reason.DEFECT, ("please report it", "", "")),
    "ignored": (
        lambda: told(host(ignore=("sleep", "app.jar")), ON_HOST),
        Reason.IGNORED,
        ("take 'app.jar' out of it", "process_discovery.ignore", f"{FILE}:7"),
    ),
    "ignored in a pod": (
        lambda: told(cluster(*LISTED, ignore=("jar$", "8080$")), IN_POD),
        Reason.IGNORED,
        ("take '8080$' out of it", "process_discovery.ignore", f"{FILE}:7"),
    ),
    "no regex": (
        lambda: told(host(regex("nginx"), mode=ScanMode.REGEX), ON_HOST),
        Reason.NO_FINDER,
        ("AUTO names every process", "process_discovery.scanner.mode", "default"),
    ),
    "no metadata": (
        lambda: told(host(mode=ScanMode.AGENT_SENSOR), ON_HOST),
        Reason.NO_FINDER,
        ("AUTO names every process", "process_discovery.scanner.mode", "default"),
    ),
    "template of a finder": (
        lambda: told(host(regex("java", service='{{.Rover.HostIPV4 "en0"}}')), ON_HOST),
        Reason.TEMPLATE,
        ("has no IPv4 address", "process_discovery.scanner.regex[0].service_name", f"{FILE}:12"),
    ),
    "outside any pod": (
        lambda: told(cluster(*LISTED), ON_HOST),
        Reason.NOT_IN_POD,
        ("set it to true", "process_discovery.kubernetes.host_processes", "default"),
    ),
    "namespace": (
        lambda: told(cluster(*LISTED, namespaces=("shop",)), IN_POD),
        Reason.NAMESPACE,
        ("add default to it", "process_discovery.kubernetes.namespaces", "env ROVER_"),
    ),
    "no service": (
        lambda: told(cluster(PodsListed((pod(),))), IN_POD),
        Reason.NO_FINDER,
        (
            "a Service whose selector",
            "process_discovery.kubernetes.analyzers[2].filters",
            "default",
        ),
    ),
    "no filter": (
        lambda: told(cluster(*LISTED, items=(analyzer('eq .Pod.Name "x"'),)), IN_POD),
        Reason.NO_FINDER,
        ('filter 1, eq .Pod.Name "x", is false', "analyzers[0].filters", f"{FILE}:21"),
    ),
    "no active analyzer": (
        lambda: told(cluster(*LISTED, items=(analyzer(active=False),)), IN_POD),
        Reason.NO_FINDER,
        ("no analyzer is active", "process_discovery.kubernetes.analyzers", f"{FILE}:21"),
    ),
    "template of an analyzer": (
        lambda: told(
            cluster(*LISTED, items=(analyzer(service='{{.Pod.LabelValue "team"}}'),)), IN_POD
        ),
        Reason.TEMPLATE,
        ("none of the labels team", "analyzers[0].service_name", f"{FILE}:23"),
    ),
    "filter of an analyzer": (
        lambda: told(
            cluster(*LISTED, items=(analyzer('eq (.Pod.LabelValue "team") "a"'),)), IN_POD
        ),
        Reason.TEMPLATE,
        ("none of the labels team", "analyzers[0].filters", f"{FILE}:21"),
    ),
    "owner that is being asked for": (
        lambda: told(
            cluster(
                PodsListed((pod(owners=(OWNER,)),)),
                items=(analyzer(service='{{.Pod.OwnerName "Deployment"}}'),),
            ),
            IN_POD,
        ),
        Reason.TEMPLATE,
        ("are being asked for", "analyzers[0].service_name", f"{FILE}:23"),
    ),
    "pods not listed": (
        lambda: told(cluster(), IN_POD),
        Reason.POD_UNKNOWN,
        ("`rover status` tells why", "", ""),
    ),
    "pod not known": (
        lambda: told(cluster(PodsListed(())), IN_POD),
        Reason.POD_UNKNOWN,
        ("wait: a kubelet tells", "", ""),
    ),
    "container not shown yet": (
        lambda: told(cluster(PodsListed((pod(ContainerRecord("app")),))), IN_POD),
        Reason.POD_UNKNOWN,
        ("wait: a kubelet tells", "", ""),
    ),
    "sandbox": (
        lambda: told(cluster(*LISTED), SANDBOX),
        Reason.POD_UNKNOWN,
        ("a pod's sandbox", "", ""),
    ),
    "container of no pod": (
        lambda: told(cluster(*LISTED), DOCKER),
        Reason.POD_UNKNOWN,
        ("of the node's own", "process_discovery.kubernetes.host_processes", "default"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_reason_has_its_cause_and_its_line(case: str):
    tell, reason, mend = CASES[case]
    (story,) = tell()["processes"]
    assert story["reason"] == reason.value
    assert story["trace_fault"] == ""
    if mend is None:
        assert story["remedy"] is None
        return
    text, key, where = mend
    assert text in story["remedy"]["text"]
    assert story["remedy"]["key"].endswith(key)
    assert bool(story["remedy"]["key"]) == bool(key)
    assert story["remedy"]["where"].startswith(where)


def test_no_reason_is_left_out():
    assert {reason for _, reason, _ in CASES.values()} == set(Reason)


def test_a_container_that_was_left_after_many_looks_is_told_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(join, "LOOKS", (0.0,))
    judge = cluster(PodsListed(()))
    judge.judge(IN_POD)
    judge.refresh(1e12)
    (story,) = told(judge, IN_POD)["processes"]
    assert "left after 1 looks" in story["detail"]
    assert "compare the node's name" in story["remedy"]["text"]


def test_the_trail_has_every_filter_of_every_analyzer_with_its_value():
    (story,) = told(cluster(PodsListed((MESH,))), IN_POD)["processes"]
    values = {
        step["rule"]: [(test["value"], test["facts"]) for test in step["tests"]]
        for step in story["steps"]
    }
    assert values == {
        "analyzer 1 (MESH_DP)": [("true", {}), ("false", {".Container.Name": "app"})],
        "analyzer 2 (MESH)": [("true", {}), ("true", {".Container.Name": "app"})],
        "analyzer 3 (K8S_SERVICE)": [("false", {})],
    }
    outcomes = [step["outcome"] for step in story["steps"]]
    assert outcomes == ["does not apply", "names it", "does not apply"]


def test_filters_after_one_that_does_not_hold_are_told_too():
    items = (analyzer('eq .Pod.Name "x"', "true", '.Pod.LabelValue "no"'),)
    (story,) = told(cluster(*LISTED, items=items), IN_POD)["processes"]
    values = [test["value"] for test in story["steps"][0]["tests"]]
    assert values[:2] == ["false", "true"]
    assert values[2].startswith("fails: ")


def test_finders_after_the_one_that_decided_are_not_asked():
    (story,) = told(host(regex("nginx"), regex("java"), regex("jar")), ON_HOST)["processes"]
    assert [(step["rule"], step["outcome"]) for step in story["steps"]] == [
        ("SkyWalking agent's metadata", "none"),
        ("regex finder 1", "does not match"),
        ("regex finder 2", "names it"),
        ("regex finder 3", "is not asked"),
        ("systemd unit, else the host", "is not asked"),
    ]


def test_a_nodes_own_container_goes_to_the_hosts_finders_where_they_are_asked():
    (story,) = told(cluster(*LISTED, outside=host()), DOCKER)["processes"]
    assert story["reason"] == "reported"
    assert [step["rule"] for step in story["steps"]] == [
        "pod of its container", "SkyWalking agent's metadata", "systemd unit, else the host",
    ]  # fmt: skip


def test_a_story_of_a_pod_names_its_container_pod_service_and_owners():
    record = pod(owners=(OWNER,))
    (story,) = told(cluster(PodsListed((record,)), stories.SERVICE), IN_POD)["processes"]
    assert story["container"] == {
        "id": ID, "runtime": "containerd", "pod_uid": UID, "name": "app", "namespace": "default",
        "pod": "productpage-v1-abc", "pod_ip": "10.0.0.7", "service": "web",
        "owners": ["ReplicaSet/web-1"],
    }  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_trail_says_what_the_judge_says(case: str):
    (story,) = CASES[case][0]()["processes"]
    named = [step["entity"] for step in story["steps"] if step["entity"]]
    claimed = [
        {name: each[name] for name in ("layer", "service", "instance", "process")}
        for each in story["entities"]
    ]
    assert named == claimed


def test_asking_changes_nothing():
    judge = cluster(*LISTED, PodSeen(pod()))
    first = told(judge, IN_POD, SANDBOX)
    assert told(judge, IN_POD, SANDBOX) == first


@pytest.mark.parametrize("case", CASES)
def test_no_secret_of_a_command_line_is_in_any_story(case: str):
    assert stories.HUNTED not in json.dumps(CASES[case][0]())


def test_a_filter_on_the_command_line_does_not_show_it():
    items = (analyzer('eq .Process.CommandLine "x"'),)
    assert stories.HUNTED not in json.dumps(told(cluster(*LISTED, items=items), IN_POD))


def test_a_pod_has_all_its_processes_its_sandbox_included():
    asked = Question(pod=("default", "productpage-v1-abc"))
    answer = told(cluster(*LISTED), IN_POD, SANDBOX, YOUNGER, DOCKER, question=asked)
    assert [story["pid"] for story in answer["processes"]] == [8, 42]


def test_a_container_is_found_by_the_beginning_of_its_id():
    asked = Question(container=ID[:12])
    answer = told(cluster(*LISTED), IN_POD, SANDBOX, question=asked)
    assert [story["pid"] for story in answer["processes"]] == [IN_POD.pid]


def test_a_pod_that_is_not_there_is_told_with_where_to_ask():
    answer = told(cluster(*LISTED), IN_POD, question=Question(pod=("shop", "cart-1")))
    assert "no pod shop/cart-1 is known on this node" in answer["error"]
    assert "kubectl get pod -n shop cart-1" in answer["error"]


def test_without_kubernetes_there_are_no_pods_to_ask_for():
    answer = told(host(), ON_HOST, question=Question(pod=("shop", "cart-1")))
    assert "Kubernetes is not active here" in answer["error"]


def test_of_very_many_processes_some_are_told_in_full():
    many = [process(pid, cgroup=in_pod()) for pid in range(100, 300)]
    answer = told(cluster(*LISTED), *many, question=Question(container=ID))
    assert (len(answer["processes"]), answer["more"]) == (64, 136)
