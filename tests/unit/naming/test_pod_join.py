"""Processes and pods find each other, whichever comes first, and nothing is kept of either."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pod_rig import DEFAULTS, ID, UID, analyzer, analyzers, pod, process

from rover.k8s.index import PodIndex
from rover.k8s.records import (
    ContainerRecord,
    OwnerRef,
    OwnersFound,
    PodGone,
    PodSeen,
    PodsListed,
    ServiceGone,
    ServiceRecord,
    ServiceSeen,
    ServicesListed,
)
from rover.model import Reason
from rover.naming.pods import join
from rover.naming.pods.join import LOOKS, PodJoin

OTHER = "1" * 64
SERVICE = ServiceRecord("default", "web", (("app", "productpage"),))


def in_pod(container_id=ID, uid=UID):
    slices = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable"
    return f"0::{slices}-pod{uid.replace('-', '_')}.slice/cri-containerd-{container_id}.scope\n"


class Rig:
    """A join with a clock in the hand, and what it asked of others."""

    def __init__(self, *items):
        self.now = 1_000.0
        self.lists = 0
        self.asked = []
        self.index = PodIndex(clock=lambda: self.now)
        self.join = PodJoin(
            self.index,
            analyzers(*(items or (analyzer(),))),
            list_again=self.list_again,
            ask_owner=lambda namespace, owner: self.asked.append((namespace, owner.name)),
            clock=lambda: self.now,
        )

    def list_again(self):
        self.lists += 1

    def pass_time(self, seconds):
        """Let time pass; return the keys that came up for another judgement."""
        end, keys = self.now + seconds, set()
        while (due := self.join.next_refresh(self.now)) <= end:
            self.now = max(self.now, due)
            keys |= self.join.refresh(self.now)
        self.now = end
        return keys


@pytest.fixture
def rig():
    made = Rig()
    made.join.apply(PodsListed(()))
    return made


PROCESS = process(cgroup=in_pod())


# --- two ways ---


def test_a_process_in_no_container_is_none_of_the_joins(rig):
    assert rig.join.judge(process(cgroup="0::/system.slice/kubelet.service\n")) is None
    assert not any(rig.join.figures.values())


def test_a_process_that_comes_after_its_pod_is_named_at_once(rig):
    rig.join.apply(PodSeen(pod()))
    assert rig.join.judge(PROCESS).reason is Reason.REPORTED


def test_a_process_that_comes_first_is_named_by_its_pods_event(rig):
    verdict = rig.join.judge(PROCESS)
    assert verdict.reason is Reason.POD_UNKNOWN
    assert f"no pod of the UID {UID}" in verdict.detail
    starting = pod(ContainerRecord("app"))
    assert rig.join.apply(PodSeen(starting)) == set()
    assert "does not show it yet" in rig.join.judge(PROCESS).detail
    assert rig.join.apply(PodSeen(pod())) == {PROCESS.key}
    assert rig.join.judge(PROCESS).reason is Reason.REPORTED
    assert rig.join.figures["containers_searched"] == 0


def test_a_service_created_later_brings_its_entity():
    rig = Rig(*DEFAULTS)
    rig.join.apply(PodSeen(pod()))
    assert rig.join.judge(PROCESS).reason is Reason.NO_FINDER
    assert rig.join.apply(ServiceSeen(SERVICE)) == {PROCESS.key}
    (report,) = rig.join.judge(PROCESS).reports
    assert report.entity.service == "web.default"
    assert rig.join.apply(ServiceGone(SERVICE)) == {PROCESS.key}
    assert rig.join.judge(PROCESS).reason is Reason.NO_FINDER


def test_only_the_processes_of_what_changed_are_judged_again(rig):
    other = pod(ContainerRecord("app", f"containerd://{OTHER}"), name="other", uid="u2")
    rig.join.apply(PodSeen(pod()))
    rig.join.apply(PodSeen(other))
    keys = {rig.join.judge(process(pid, cgroup=in_pod())) and process(pid).key for pid in (1, 2)}
    rig.join.judge(process(3, cgroup=in_pod(OTHER, "u2")))
    assert rig.join.apply(PodSeen(pod(labels={"app": "x"}))) == keys
    assert rig.join.apply(PodSeen(pod(labels={"app": "x"}))) == set()


def test_news_that_is_not_the_clusters_is_none(rig):
    rig.join.judge(PROCESS)
    assert rig.join.apply("something else") == set()


def test_a_dying_process_keeps_its_name_after_its_pod_has_gone(rig):
    rig.join.apply(PodSeen(pod()))
    rig.join.judge(PROCESS)
    rig.join.apply(PodGone(pod()))
    rig.pass_time(10_000.0)
    assert rig.join.judge(PROCESS).reason is Reason.REPORTED
    rig.join.forget(PROCESS.key)
    rig.pass_time(100.0)
    assert not any(rig.index.figures.values())


def test_a_process_that_moved_to_another_container_is_that_ones(rig):
    rig.join.apply(PodSeen(pod(ContainerRecord("app", f"containerd://{OTHER}"))))
    assert rig.join.judge(PROCESS).reason is Reason.POD_UNKNOWN
    assert rig.join.judge(process(cgroup=in_pod(OTHER))).reason is Reason.REPORTED
    assert rig.join.apply(PodSeen(pod())) == {PROCESS.key}
    assert rig.join.judge(process(cgroup="0::/\n")) is None
    assert not any(rig.join.figures.values())


def test_of_nested_containers_the_one_this_cluster_knows_counts(rig):
    inner = f"/docker/{'2' * 64}/kubelet/kubepods/pod91a8fc3a-0ecf-48b4-81bf-78a7275d348c/{OTHER}"
    nested = process(cgroup=in_pod().rstrip("\n") + inner + "\n")
    assert rig.join.judge(nested).reason is Reason.POD_UNKNOWN
    assert rig.join.apply(PodSeen(pod())) == {nested.key}
    (report,) = rig.join.judge(nested).reports
    assert report.container.id == ID
    rig.join.forget(nested.key)
    assert not any(rig.join.figures.values())


# --- before the first list ---


def test_before_the_first_list_nothing_is_looked_for_nor_held_against_a_process():
    rig = Rig()
    assert "have not been listed yet" in rig.join.judge(PROCESS).detail
    assert rig.pass_time(1_000.0) == set()
    assert rig.lists == 0
    assert rig.join.apply(PodsListed(())) == {PROCESS.key}
    assert "no pod of the UID" in rig.join.judge(PROCESS).detail
    rig.pass_time(LOOKS[0] + 0.1)
    assert rig.lists == 1


# --- looks ---


def test_a_pod_that_is_missing_is_looked_for_with_growing_pauses_then_left(rig):
    rig.join.judge(PROCESS)
    assert rig.pass_time(LOOKS[0] - 0.1) == set()
    assert rig.pass_time(0.2) == {PROCESS.key}
    assert rig.lists == 1
    rig.pass_time(10_000.0)
    assert rig.lists == len(LOOKS) - 1
    assert rig.join.figures["containers_left"] == 1
    assert f"left after {len(LOOKS)} looks" in rig.join.judge(PROCESS).detail
    assert rig.lists == len(LOOKS) - 1


def test_what_was_left_is_still_found_by_news_of_it(rig):
    rig.join.judge(PROCESS)
    rig.pass_time(10_000.0)
    assert rig.join.apply(PodsListed((pod(),))) == {PROCESS.key}
    assert rig.join.judge(PROCESS).reason is Reason.REPORTED
    assert rig.join.figures["containers_left"] == 0


def test_the_sandbox_of_a_pod_is_told_and_not_looked_for(rig):
    rig.join.apply(PodSeen(pod()))
    verdict = rig.join.judge(process(name="pause", cgroup=in_pod(OTHER)))
    assert verdict.reason is Reason.POD_UNKNOWN
    assert "the sandbox of pod default/productpage-v1-abc" in verdict.detail
    rig.pass_time(10_000.0)
    assert rig.lists == 0
    assert rig.join.figures["containers_sandbox"] == 1


def test_without_a_process_for_the_sandbox_the_next_run_of_a_container_is_looked_for_once(rig):
    rig.join.apply(PodSeen(pod()))
    one = process(cgroup=in_pod(OTHER))
    assert "does not show it yet" in rig.join.judge(one).detail
    rig.pass_time(LOOKS[0] + 0.1)
    assert rig.lists == 1
    rig.pass_time(10_000.0)
    assert rig.lists == 1
    assert "the sandbox of pod" in rig.join.judge(one).detail


def test_beside_the_sandbox_the_next_run_of_a_container_is_looked_for(rig):
    rig.join.apply(PodSeen(pod()))
    rig.join.judge(process(1, name="pause", cgroup=in_pod(OTHER)))
    again = process(2, cgroup=in_pod("3" * 64))
    assert "does not show it yet" in rig.join.judge(again).detail
    rig.pass_time(LOOKS[0] + 0.1)
    assert rig.lists == 1


def test_a_container_outside_of_pods_is_told_and_not_looked_for(rig):
    docker = process(cgroup=f"0::/docker/{ID}\n")
    assert "its cgroup names none" in rig.join.judge(docker).detail
    rig.pass_time(10_000.0)
    assert rig.lists == 0
    assert rig.join.figures["containers_outside"] == 1


def test_a_search_ends_with_its_last_process(rig):
    first, second = process(1, cgroup=in_pod()), process(2, cgroup=in_pod())
    rig.join.judge(first)
    rig.join.judge(second)
    rig.join.forget(first.key)
    assert rig.join.figures["containers_searched"] == 1
    rig.join.forget(second.key)
    assert not any(rig.join.figures.values())
    assert rig.pass_time(10_000.0) == set()
    assert rig.lists == 0


def test_searches_are_bounded_and_the_rest_waits_for_news(rig, monkeypatch):
    monkeypatch.setattr(join, "MAX_LOOKED_FOR", 3)
    many = [process(n, cgroup=in_pod(f"{n:064x}")) for n in range(10)]
    for each in many:
        assert rig.join.judge(each).reason is Reason.POD_UNKNOWN
    assert rig.join.figures["containers_searched"] == 3
    assert rig.join.figures["containers_unsearched"] == 7
    late = pod(ContainerRecord("app", f"containerd://{9:064x}"))
    assert rig.join.apply(PodSeen(late)) == {many[9].key}


def test_a_process_that_comes_and_goes_again_and_again_leaves_nothing(rig):
    for pid in range(1_000):
        each = process(pid, cgroup=in_pod())
        rig.join.judge(each)
        rig.join.forget(each.key)
        rig.pass_time(0.1)
    rig.pass_time(10.0)
    assert not any(rig.join.figures.values())
    assert rig.join._due == []


# --- owners ---


def test_an_owner_is_asked_for_and_its_answer_brings_the_name():
    rig = Rig(analyzer(service='{{.Pod.OwnerName "Deployment"}}'))
    owned = pod(owners=(OwnerRef("apps/v1", "ReplicaSet", "web-abc", "r1"),))
    rig.join.apply(PodSeen(owned))
    assert rig.join.judge(PROCESS).reason is Reason.TEMPLATE
    assert rig.asked == [("default", "web-abc")]
    answer = OwnersFound("r1", (OwnerRef("apps/v1", "Deployment", "web", "d1"),))
    assert rig.join.apply(answer) == {PROCESS.key}
    (report,) = rig.join.judge(PROCESS).reports
    assert report.entity.service == "web"


# --- any order ---

PODS = [
    pod(
        ContainerRecord("app", f"containerd://{number:064x}" if shown else ""),
        name=f"p{number}",
        uid=f"{number:032x}",
        labels={"app": label},
    )
    for number in range(3)
    for shown in (True, False)
    for label in "xy"
]
SERVICES = [ServiceRecord("default", name, (("app", of),)) for name in ("s", "tt") for of in "xy"]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("start"), st.tuples(st.integers(0, 4), st.integers(0, 2))),
        st.tuples(st.just("exit"), st.integers(0, 4)),
        st.tuples(st.just("news"), st.sampled_from(PODS).map(PodSeen)),
        st.tuples(st.just("news"), st.sampled_from(PODS).map(PodGone)),
        st.tuples(
            st.just("news"),
            st.lists(st.sampled_from(PODS), max_size=3, unique_by=lambda each: each.uid).map(
                lambda pods: PodsListed(tuple(pods))
            ),
        ),
        st.tuples(st.just("news"), st.sampled_from(SERVICES).map(ServiceSeen)),
        st.tuples(st.just("news"), st.sampled_from(SERVICES).map(ServiceGone)),
        st.tuples(
            st.just("news"),
            st.lists(st.sampled_from(SERVICES), max_size=2, unique_by=lambda s: s.name).map(
                lambda services: ServicesListed(tuple(services))
            ),
        ),
        st.tuples(st.just("wait"), st.sampled_from((1.0, 50.0))),
    ),
    max_size=40,
)


@settings(max_examples=300)
@given(STEPS)
def test_in_any_order_each_process_has_the_verdict_that_it_would_get_afresh(steps):
    rig = Rig(*DEFAULTS, analyzer(service="all.{{.Pod.Namespace}}", instance="{{.Pod.Name}}"))
    live, verdicts = {}, {}

    def judge(keys):
        for key in keys:
            verdicts[key.pid] = rig.join.judge(live[key.pid])

    for step, value in steps:
        match step:
            case "start":
                pid, number = value
                live[pid] = process(pid, cgroup=in_pod(f"{number:064x}", f"{number:032x}"))
                judge({live[pid].key})
            case "exit" if value in live:
                rig.join.forget(live.pop(value).key)
                del verdicts[value]
            case "news":
                judge(rig.join.apply(value))
            case "wait":
                judge(rig.pass_time(value))
        for pid, each in live.items():
            assert verdicts[pid].reports == rig.join.judge(each).reports
    for each in live.values():
        rig.join.forget(each.key)
    assert not any(rig.join.figures.values())


# --- defects ---


def test_news_that_brings_out_a_defect_has_the_pods_listed_again(rig, monkeypatch):
    def fail(_):
        raise KeyError("torn")

    apply = rig.index.apply
    monkeypatch.setattr(rig.index, "apply", fail)
    assert rig.join.apply(PodSeen(pod())) == set()
    assert rig.lists == 1
    monkeypatch.setattr(rig.index, "apply", apply)
    rig.join.apply(PodsListed((pod(),)))
    assert rig.join.judge(PROCESS).reason is Reason.REPORTED


def test_a_container_whose_search_brings_out_a_defect_hurts_no_other(rig, monkeypatch):
    look = rig.join._look

    def poisoned(search, now):
        if search.ref.id == ID:
            raise RecursionError
        look(search, now)

    monkeypatch.setattr(rig.join, "_look", poisoned)
    other = process(pid=9, cgroup=in_pod("b" * 64))
    rig.join.judge(PROCESS)
    rig.join.judge(other)
    assert rig.pass_time(LOOKS[0]) == {PROCESS.key, other.key}
