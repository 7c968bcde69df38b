"""The index holds what the API holds, and names exactly what a message changed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from index_rig import Clock, pod, ref, service, unused

from rover.guard import Guard
from rover.k8s import index as index_module
from rover.k8s.index import PodIndex
from rover.k8s.records import (
    ContainerRecord,
    OwnerRef,
    OwnersFound,
    PodGone,
    PodSeen,
    PodsListed,
    ServiceGone,
    ServiceSeen,
    ServicesListed,
)
from rover.k8s.services import Services


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def index(clock):
    return PodIndex(grace=60.0, clock=clock)


# --- containers ---


def test_a_container_is_found_once_its_pods_status_shows_it(index):
    assert index.apply(PodSeen(pod(ids=("",)))) == frozenset()
    assert index.find(ref("a", "u1")) is None
    assert index.pod_at("u1").name == "web"
    assert index.apply(PodSeen(pod(ids=("a",)))) == {"a"}
    found = index.find(ref("a"))
    assert (found.pod.name, found.container.name, found.id) == ("web", "c0", "a")


def test_an_event_that_changes_nothing_kept_names_no_container(index):
    index.apply(PodSeen(pod()))
    assert index.apply(PodSeen(pod())) == frozenset()
    assert index.apply(PodsListed((pod(),))) == frozenset()


@pytest.mark.parametrize("change", [{"labels": {"x": "y"}}, {"pod_ip": "10.0.0.9"}])
def test_a_pods_changed_facts_name_all_its_containers(index, change):
    index.apply(PodSeen(pod(ids=("a", "b"))))
    assert index.apply(PodSeen(replace(pod(ids=("a", "b")), **change))) == {"a", "b"}


def test_a_restarted_containers_former_run_keeps_its_name_for_a_while(index, clock):
    index.apply(PodSeen(pod(ids=("a1",))))
    assert index.apply(PodSeen(pod(ids=("a2",)))) == {"a1", "a2"}
    assert index.find(ref("a1")).container.name == "c0"
    clock.now = 59.0
    index.expire(unused)
    assert index.find(ref("a1"))
    clock.now = 61.0
    index.expire({"a1"}.__contains__)
    assert index.find(ref("a1"))
    index.expire(unused)
    assert index.find(ref("a1")) is None
    assert index.find(ref("a2"))


def test_the_run_before_is_known_from_the_status_too(index):
    container = ContainerRecord("app", "containerd://a2", "containerd://a1")
    index.apply(PodSeen(replace(pod(), containers=(container,))))
    assert index.find(ref("a1")).container.name == "app"


def test_former_runs_of_a_container_that_crashes_for_ever_do_not_pile_up(index, clock):
    for number in range(1_000):
        clock.now += 300.0
        index.apply(PodSeen(pod(ids=(f"run{number}",))))
        index.expire(unused)
    assert index.figures["containers"] <= 2


# --- pods that go ---


def test_a_deleted_pod_is_kept_for_the_grace_time(index, clock):
    index.apply(PodSeen(pod()))
    assert index.apply(PodGone(pod())) == frozenset()
    assert index.pods() == {}
    clock.now = 59.0
    index.expire(unused)
    assert index.find(ref("a")).pod.name == "web"
    clock.now = 61.0
    index.expire(unused)
    assert index.find(ref("a")) is None
    assert index.figures == dict.fromkeys(index.figures, 0)


def test_and_for_as_long_as_one_of_its_processes_lives(index, clock):
    index.apply(PodSeen(pod(ids=("a", "b"))))
    index.apply(PodGone(pod(ids=("a", "b"))))
    clock.now = 10_000.0
    index.expire({"b"}.__contains__)
    assert index.find(ref("a"))
    index.expire(unused)
    assert index.find(ref("a")) is None


def test_the_last_state_of_a_deleted_pod_counts(index):
    index.apply(PodSeen(pod(ids=("",))))
    assert index.apply(PodGone(pod(ids=("a",)))) == {"a"}
    assert index.find(ref("a"))


def test_a_pod_missing_in_a_new_list_has_gone(index):
    index.apply(PodsListed((pod("one", "u1", ids=("a",)), pod("two", "u2", ids=("b",)))))
    index.apply(PodsListed((pod("two", "u2", ids=("b",)),)))
    assert {key[1] for key in index.pods()} == {"two"}
    assert index.find(ref("a")).pod.name == "one"


def test_the_same_name_with_another_uid_is_another_pod(index):
    index.apply(PodSeen(pod("db-0", "u1", ids=("a",))))
    index.apply(PodSeen(pod("db-0", "u2", ids=("b",))))
    assert index.pods()["shop", "db-0"][0].uid == "u2"
    assert index.find(ref("a")).pod.uid == "u1"
    # the deletion of the old one arrives late, and harms the new one no more
    index.apply(PodGone(pod("db-0", "u1", ids=("a",))))
    assert index.pods()["shop", "db-0"][0].uid == "u2"


def test_a_deletion_of_an_unknown_pod_is_nothing(index):
    assert index.apply(PodGone(pod())) == frozenset()
    assert index.figures == dict.fromkeys(index.figures, 0)


def test_deleted_pods_are_bounded(index, monkeypatch):
    monkeypatch.setattr(index_module, "MAX_GONE", 10)
    for number in range(100):
        one = pod(f"p{number}", f"u{number}", ids=(f"c{number}",))
        index.apply(PodSeen(one))
        index.apply(PodGone(one))
    assert index.figures["pods_gone"] == 10
    assert index.figures["containers"] == 10
    assert index.find(ref("c99"))


def test_a_static_pod_is_found_by_the_hash_in_its_path_through_a_new_mirror(index, clock):
    index.apply(PodSeen(pod("etcd", "u1", path_uid="hash", ids=("a",))))
    assert index.pod_at("hash").uid == "u1"
    index.apply(PodGone(pod("etcd", "u1", path_uid="hash", ids=("a",))))
    assert index.apply(PodSeen(pod("etcd", "u2", path_uid="hash", ids=("a",)))) == {"a"}
    clock.now = 61.0
    index.expire(unused)
    assert index.pod_at("hash").uid == "u2"
    assert index.find(ref("a")).pod.uid == "u2"


# --- services ---


@pytest.mark.parametrize(
    ("names", "wins"),
    [
        (("front", "web"), "web"),
        (("web", "api"), "api"),
        (("b", "a", "ab"), "a"),
        (("only",), "only"),
        ((), ""),
    ],
)
def test_of_several_services_the_shortest_name_then_the_first_wins(index, names, wins):
    index.apply(PodSeen(pod()))
    for name in names:
        index.apply(ServiceSeen(service(name, app="web")))
    assert index.find(ref("a")).service == wins


@pytest.mark.parametrize(
    ("other", "matches"),
    [
        (service("s", app="web"), True),
        (service("s", app="web", tier="front"), True),
        (service("s", app="web", tier="back"), False),
        (service("s", app="web", more="x"), False),
        (service("s", "elsewhere", app="web"), False),
        (service("s"), False),
    ],
)
def test_a_service_needs_all_of_its_selector_in_its_own_namespace(index, other, matches):
    index.apply(ServiceSeen(other))
    index.apply(PodSeen(pod(labels={"app": "web", "tier": "front"})))
    assert index.find(ref("a")).service == ("s" if matches else "")


def test_a_service_event_names_the_containers_of_the_pods_it_changes_alone(index):
    index.apply(PodSeen(pod("web", "u1", ids=("a", "b"))))
    index.apply(PodSeen(pod("api", "u2", ids=("c",))))
    assert index.apply(ServiceSeen(service("web", app="web"))) == {"a", "b"}
    assert index.apply(ServiceSeen(service("longer", app="web"))) == frozenset()
    assert index.apply(ServiceSeen(service("web", app="api"))) == {"a", "b", "c"}
    assert index.apply(ServiceGone(service("web", app="api"))) == {"c"}
    assert index.find(ref("a")).service == "longer"


def test_a_service_missing_in_a_new_list_has_gone(index):
    index.apply(PodSeen(pod()))
    index.apply(ServicesListed((service("web", app="web"), service("longer", app="web"))))
    assert index.apply(ServicesListed((service("longer", app="web"),))) == {"a"}
    assert index.find(ref("a")).service == "longer"
    assert index.figures["services"] == 1


def test_a_deleted_pod_keeps_the_service_it_had(index):
    index.apply(ServiceSeen(service("web", app="web")))
    index.apply(PodSeen(pod()))
    index.apply(PodGone(pod()))
    assert index.apply(ServiceGone(service("web", app="web"))) == frozenset()
    assert index.find(ref("a")).service == "web"


def test_a_service_event_looks_at_no_pod_that_it_cannot_select(index, monkeypatch):
    looked_at = []
    of = Services.of
    for number in range(110):
        index.apply(PodSeen(pod(f"p{number}", f"u{number}", ids=(f"c{number}",))))
    monkeypatch.setattr(Services, "of", lambda self, pod: looked_at.append(pod) or of(self, pod))
    for number in range(2_000):
        index.apply(ServiceSeen(service(f"s{number}", app=f"p{number}")))
    assert len(looked_at) == 110


# --- owners ---

REPLICA_SET = OwnerRef("apps/v1", "ReplicaSet", "web-abc", "r1")
DEPLOYMENT = OwnerRef("apps/v1", "Deployment", "web", "d1")


def lineage(index, container_id="a"):
    return [(each.ref.kind, each.asked) for each in index.find(ref(container_id)).lineage]


def test_an_owners_owners_are_in_the_lineage_once_they_are_found(index):
    index.apply(PodSeen(pod(owners=(REPLICA_SET,))))
    assert lineage(index) == [("ReplicaSet", False)]
    assert index.apply(OwnersFound("r1", (DEPLOYMENT,))) == {"a"}
    assert lineage(index) == [("ReplicaSet", True), ("Deployment", False)]
    assert index.apply(OwnersFound("d1", ())) == {"a"}
    assert lineage(index) == [("ReplicaSet", True), ("Deployment", True)]


def test_owners_of_others_name_no_container(index):
    index.apply(PodSeen(pod()))
    assert index.apply(OwnersFound("r1", (DEPLOYMENT,))) == frozenset()


def test_owners_found_for_one_pod_serve_the_next(index):
    index.apply(PodSeen(pod(owners=(REPLICA_SET,))))
    index.apply(OwnersFound("r1", (DEPLOYMENT,)))
    index.apply(PodSeen(pod("web-2", "u2", ids=("b",), owners=(REPLICA_SET,))))
    assert lineage(index, "b") == [("ReplicaSet", True), ("Deployment", False)]


def test_owners_that_own_each_other_end_somewhere(index):
    index.apply(PodSeen(pod(owners=(REPLICA_SET,))))
    index.apply(OwnersFound("r1", (DEPLOYMENT,)))
    index.apply(OwnersFound("d1", (REPLICA_SET,)))
    assert lineage(index) == [("ReplicaSet", True), ("Deployment", True)]


def test_owners_are_bounded(index, monkeypatch):
    monkeypatch.setattr(index_module, "MAX_OWNERS", 10)
    for number in range(100):
        index.apply(OwnersFound(f"r{number}", ()))
    assert index.figures["owners"] == 10


# --- defects ---


def test_a_pod_that_brings_out_a_defect_is_left_out_and_hurts_no_other(clock, monkeypatch):
    guard = Guard()
    index = PodIndex(grace=60.0, clock=clock, guard=guard)
    link, failing = index._link, ["bad"]

    def torn(entry):
        if entry.pod.name in failing:
            raise RecursionError
        return link(entry)

    monkeypatch.setattr(index, "_link", torn)
    bad, good = pod("bad", "u1", ids=("a",)), pod("good", "u2", ids=("b",))
    assert index.apply(PodsListed((bad, good))) == {"b"}
    assert index.apply(PodSeen(bad)) == frozenset()
    assert index.apply(ServiceSeen(service("front", app="bad"))) == frozenset()
    assert index.pods().keys() == {("shop", "good")}
    assert index.pod_at("u1") is None
    assert guard.counts["pod"] == 2
    failing.clear()
    assert index.apply(PodsListed((bad, good))) == {"a"}
    assert index.apply(PodsListed((good,))) == frozenset()
    assert index.pods().keys() == {("shop", "good")}
