"""Processes whose names are made of their user's, on a host and in a pod."""

from __future__ import annotations

import queue
import threading

import pytest
from pod_rig import ID, UID, analyzer, pod, process

from rover.config.load import load
from rover.config.settings import KubernetesSettings
from rover.foreign.reads import ForeignReads
from rover.guard import Guard
from rover.judges import judges, names_users
from rover.k8s.index import PodIndex
from rover.k8s.records import PodsListed
from rover.model import Reason
from rover.naming.cluster_judge import ClusterJudge
from rover.naming.host_facts import Host
from rover.naming.pods.analyzers import Analyzers
from rover.naming.pods.join import PodJoin
from rover.naming.trail import Trail
from rover.naming.user_judge import UserJudge, UserNews
from rover.naming.user_names import PATIENCE_S, UserNames

BY_USER = """
process_discovery:
  scanner:
    mode: REGEX
    regex:
      - match_cmd: "."
        service_name: shop
        instance_name: "{{.Process.User}}"
        process_name: web
"""
IN_POD = f"0::/kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice/cri-containerd-{ID}.scope"
WITHIN_S = 20.0


class Rig:
    """A judge, its user database, and what the discovery thread would be told."""

    def __init__(self):
        self.now = 1000.0
        self.answers = threading.Event()
        self.posted = queue.SimpleQueue()
        self.users = UserNames(self._look_up, clock=lambda: self.now)
        self.host = Host("agent-1", name="node-1", interfaces=dict, users=self.users)

    def _look_up(self, uid):
        assert self.answers.wait(WITHIN_S)
        return {1000: "alice"}.get(uid)

    def answer(self, judge):
        """Let the database answer; return whom the judge would have judged again."""
        self.answers.set()
        return set(judge.apply(self.posted.get(timeout=WITHIN_S)))


@pytest.fixture
def rig():
    rig = Rig()
    yield rig
    rig.answers.set()
    rig.users.close()


@pytest.fixture
def on_host(rig, tmp_path):
    file = tmp_path / "rover.yaml"
    file.write_text(BY_USER)
    settings = load(file, {}, {}).settings
    judge, _ = judges(settings, rig.host, ForeignReads(), rig.posted.put, Guard())
    return judge


@pytest.fixture
def in_cluster(rig):
    def build(*items):
        join = PodJoin(
            PodIndex(),
            Analyzers(KubernetesSettings(analyzers=items), (), rig.host, ""),
            list_again=lambda: None,
            ask_owner=lambda _namespace, _owner: None,
        )
        rig.users.listen(lambda: rig.posted.put(UserNews()))
        judge = UserJudge(ClusterJudge(join, None), rig.users)
        judge.apply(PodsListed((pod(),)))
        return judge

    return build


WEB = process(uid=1000)
POD_WEB = process(uid=1000, cgroup=IN_POD)
BY_NAME = analyzer(instance="{{.Process.User}}")


def instances(verdict):
    return [report.entity.instance for report in verdict.reports]


def test_on_a_host_a_process_is_not_reported_before_its_users_name_is_known(rig, on_host):
    verdict = on_host.judge(WEB)
    assert (verdict.reason, verdict.reports) == (Reason.PENDING, ())
    assert "being asked who uid 1000 is" in verdict.detail
    assert rig.answer(on_host) == {WEB.key}
    assert instances(on_host.judge(WEB)) == ["alice"]


def test_in_a_pod_neither(rig, in_cluster):
    judge = in_cluster(BY_NAME)
    verdict = judge.judge(POD_WEB)
    assert (verdict.reason, verdict.reports) == (Reason.PENDING, ())
    assert rig.answer(judge) == {POD_WEB.key}
    assert instances(judge.judge(POD_WEB)) == ["alice"]


def test_an_analyzer_that_waits_for_a_user_keeps_no_other_from_its_entity(rig, in_cluster):
    judge = in_cluster(analyzer(service="other"), BY_NAME)
    assert instances(judge.judge(POD_WEB)) == ["i"]
    rig.answer(judge)
    assert instances(judge.judge(POD_WEB)) == ["i", "alice"]


def test_after_some_seconds_it_is_reported_with_the_number_and_again_with_the_name(rig, on_host):
    on_host.judge(WEB)
    assert on_host.next_refresh(rig.now) == rig.now + PATIENCE_S
    rig.now += PATIENCE_S
    assert set(on_host.refresh(rig.now)) == {WEB.key}
    verdict = on_host.judge(WEB)
    assert instances(verdict) == ["1000"]
    assert "has not said who uid 1000 is" in verdict.detail
    assert rig.answer(on_host) == {WEB.key}
    verdict = on_host.judge(WEB)
    assert instances(verdict) == ["alice"]
    assert "uid" not in verdict.detail


def test_who_has_ended_is_not_judged_again(rig, on_host):
    on_host.judge(WEB)
    on_host.forget(WEB.key)
    assert rig.answer(on_host) == set()


def test_who_asks_why_reads_that_the_name_is_waited_for(on_host):
    on_host.judge(WEB)
    trail = Trail()
    on_host.trace(WEB, trail)
    assert any(step.outcome.startswith("waits: ") for step in trail.steps)


def test_what_waits_is_counted(rig, on_host):
    on_host.judge(WEB)
    assert on_host.figures()["user_names"] == {"known": 0, "asked": 1, "late": 0}
    rig.answer(on_host)
    assert on_host.figures()["user_names"] == {"known": 1, "asked": 0, "late": 0}


def test_nothing_is_asked_where_no_name_is_made_of_a_user(tmp_path, rig):
    file = tmp_path / "rover.yaml"
    file.write_text(BY_USER.replace(".Process.User", ".Process.Pid"))
    settings = load(file, {}, {}).settings
    assert not names_users(settings)
    judge, _ = judges(settings, rig.host, ForeignReads(), rig.posted.put, Guard())
    judge.judge(WEB)
    assert not isinstance(judge, UserJudge)
    assert rig.users.figures["asked"] == 0
