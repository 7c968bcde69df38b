"""Who owns a pod's owners is asked of the API, beside the watches and not in their way."""

from __future__ import annotations

import json
import time

import pytest

from bench.cluster.api import ApiServer
from bench.cluster.objects import owner_object, uid_of
from bench.cluster.state import Fault
from bench.rig.follower import kubeconfig
from rover.guard import Guard
from rover.k8s import owners as owners_module
from rover.k8s.access import by_kubeconfig
from rover.k8s.owners import MAX_OPEN, OwnerResolver, plural
from rover.k8s.records import OwnerRef, OwnersFound

REPLICA_SET = OwnerRef("apps/v1", "ReplicaSet", "web-abc", uid_of("ReplicaSet", "web-abc"))
DEPLOYMENT = OwnerRef("apps/v1", "Deployment", "web", uid_of("Deployment", "web"))
JOB = OwnerRef("batch/v1", "Job", "tidy-1", uid_of("Job", "tidy-1"))
CRON_JOB = OwnerRef("batch/v1", "CronJob", "tidy", uid_of("CronJob", "tidy"))


@pytest.fixture
def api():
    with ApiServer() as server:
        server.put("replicasets", owner_object("ReplicaSet", "web-abc", ("Deployment", "web")))
        server.put("jobs", owner_object("Job", "tidy-1", ("CronJob", "tidy")))
        yield server


@pytest.fixture
def posted():
    return []


@pytest.fixture
def resolver(api, posted, tmp_path, monkeypatch):
    monkeypatch.setattr(owners_module, "_BACKOFF", 0.05)
    monkeypatch.setattr(owners_module, "_BACKOFF_MOST", 0.2)
    made = OwnerResolver(by_kubeconfig(kubeconfig(tmp_path, api.url)), posted.append)
    yield made
    assert made.stop()


def test_a_replica_sets_deployment_and_a_jobs_cron_job_are_found(resolver, posted, eventually):
    resolver.ask("default", REPLICA_SET)
    resolver.ask("default", JOB)
    eventually(lambda: len(posted) == 2)
    assert set(posted) == {
        OwnersFound(REPLICA_SET.uid, (DEPLOYMENT,)),
        OwnersFound(JOB.uid, (CRON_JOB,)),
    }


def test_nothing_is_asked_and_no_thread_runs_before_the_first_question(api, resolver):
    assert resolver._thread is None
    assert api.requests == []


def test_a_question_that_is_open_is_asked_once(api, resolver, posted, eventually):
    for _ in range(100):
        resolver.ask("default", REPLICA_SET)
    eventually(lambda: posted)
    assert len(api.requests) <= 2


def test_an_owner_that_has_gone_has_no_owners(resolver, posted, eventually):
    gone = OwnerRef("apps/v1", "ReplicaSet", "gone", "r9")
    resolver.ask("default", gone)
    eventually(lambda: posted)
    assert posted == [OwnersFound("r9", ())]


def test_an_owner_whose_name_another_bears_now_has_no_owners(resolver, posted, eventually):
    earlier = OwnerRef("apps/v1", "ReplicaSet", "web-abc", "an-earlier-uid")
    resolver.ask("default", earlier)
    eventually(lambda: posted)
    assert posted == [OwnersFound("an-earlier-uid", ())]


def test_a_right_that_lacks_is_named_and_used_once_it_is_given(
    api, resolver, posted, eventually, caplog
):
    api.denied.add(("get", "replicasets"))
    resolver.ask("default", REPLICA_SET)
    eventually(lambda: len(api.requests) >= 4)
    (told,) = posted
    assert "allow the verb get on replicasets in its ClusterRole" in told.fault
    assert len(caplog.records) == 1
    api.denied.clear()
    eventually(lambda: posted[-1] == OwnersFound(REPLICA_SET.uid, (DEPLOYMENT,)))


@pytest.mark.parametrize(
    "fault",
    [
        Fault(500, times=2),
        Fault(reset=True, times=2),
        Fault(body=b"<html>", times=2),
        Fault(body=b"[]", times=2),
        Fault(body=b'{"metadata":[]}', times=2),
        Fault(401, times=2),
    ],
    ids=lambda fault: str(fault.status or fault.body or "reset"),
)
def test_a_fault_is_tried_again(api, resolver, posted, eventually, fault):
    api.fail(fault)
    resolver.ask("default", REPLICA_SET)
    eventually(lambda: OwnersFound(REPLICA_SET.uid, (DEPLOYMENT,)) in posted)


def test_a_question_that_hangs_keeps_no_stop_waiting(api, resolver, eventually):
    api.fail(Fault(hang=5.0))
    resolver.ask("default", REPLICA_SET)
    eventually(lambda: api.requests)
    began = time.monotonic()
    assert resolver.stop()
    assert time.monotonic() - began < 1.0


def test_open_questions_are_bounded(api, resolver):
    api.fail(Fault(500, times=10**6))
    for number in range(MAX_OPEN + 10):
        resolver.ask("default", OwnerRef("apps/v1", "ReplicaSet", f"r{number}", f"u{number}"))
    assert resolver.dropped == 10


def test_names_that_would_lead_elsewhere_are_quoted(api, resolver, posted, eventually):
    odd = OwnerRef("apps/v1", "ReplicaSet", "../../secrets/x?y#z", "u")
    resolver.ask("default", odd)
    eventually(lambda: posted)
    assert all(resource == "replicasets" for _, resource, _ in api.requests)
    assert json.dumps(posted[0].owners) == "[]"


@pytest.mark.parametrize(
    ("kind", "resource"),
    [
        ("ReplicaSet", "replicasets"),
        ("NetworkPolicy", "networkpolicies"),
        ("Gateway", "gateways"),
        ("Ingress", "ingresses"),
        ("Index", "indexes"),
        ("Branch", "branches"),
        ("Rollout", "rollouts"),
    ],
)
def test_a_kinds_resource_is_its_plural(kind, resource):
    assert plural(kind) == resource


def test_a_server_that_wants_to_be_left_alone_for_ever_is_asked_again_all_the_same(
    resolver, api, posted, eventually, monkeypatch
):
    monkeypatch.setattr(owners_module, "MAX_RETRY_AFTER", 0.1)
    api.fail(Fault(429, headers={"Retry-After": "10000000000"}))
    resolver.ask("default", REPLICA_SET)
    eventually(lambda: posted and posted[-1] == OwnersFound(REPLICA_SET.uid, (DEPLOYMENT,)))


def test_a_defect_costs_its_own_question_alone(api, tmp_path, posted, eventually, monkeypatch):
    monkeypatch.setattr(owners_module, "_BACKOFF", 0.01)
    guard = Guard()

    def post(found):
        if found.uid == JOB.uid:
            raise ZeroDivisionError
        posted.append(found)

    access = by_kubeconfig(kubeconfig(tmp_path, api.url))
    resolver = OwnerResolver(access, post, guard)
    resolver.ask("default", JOB)
    eventually(lambda: guard.counts["owner"] > 1)  # asked again: its answer did not arrive
    resolver.ask("default", REPLICA_SET)
    eventually(lambda: OwnersFound(REPLICA_SET.uid, (DEPLOYMENT,)) in posted)
    assert resolver.stop()


def test_an_answer_that_there_is_no_room_for_is_asked_for_again(
    api, tmp_path, posted, eventually, monkeypatch
):
    monkeypatch.setattr(owners_module, "_BACKOFF", 0.01)
    refused = []

    def post(found):
        if len(refused) < 3:
            refused.append(found)
            return False
        return posted.append(found)

    resolver = OwnerResolver(by_kubeconfig(kubeconfig(tmp_path, api.url)), post)
    resolver.ask("default", REPLICA_SET)
    eventually(lambda: posted == [OwnersFound(REPLICA_SET.uid, (DEPLOYMENT,))])
    assert resolver.stop()
