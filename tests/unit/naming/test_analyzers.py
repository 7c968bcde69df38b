"""What a pod's process is called, and what of an analyzer's failure is told."""

from __future__ import annotations

import re

import pytest
from pod_rig import DEFAULTS, ID, analyzer, analyzers, found, owner, pod, process

from rover.k8s.records import ContainerRecord
from rover.model import Container, Entity, Reason

PROXY = ContainerRecord("istio-proxy", f"containerd://{ID}")
APP = ContainerRecord("app", f"containerd://{ID}")


def entities(verdict):
    return [report.entity for report in verdict.reports]


def judge(*items, of=None, subject=None, **how):
    return analyzers(*items, **how).judge(subject or process(), of or found()).verdict


# --- the three defaults ---


def test_a_pod_of_a_service_gets_that_services_entity():
    verdict = judge(*DEFAULTS, of=found(service="productpage"))
    assert entities(verdict) == [
        Entity(
            "K8S_SERVICE",
            "productpage.default",
            "productpage-v1-abc",
            "gunicorn",
            ("k8s-service",),
        )
    ]
    assert verdict.reason is Reason.REPORTED


def test_the_side_car_and_the_application_of_a_mesh_get_an_entity_each():
    record = pod(APP, PROXY, labels={"app": "reviews", "app.kubernetes.io/name": "better"})
    mesh = Entity("MESH", "better.default", record.name, "gunicorn", ("mesh-application",))
    assert entities(judge(*DEFAULTS, of=found(record))) == [mesh]
    envoy = process(name="envoy", exe="/usr/local/bin/envoy")
    dataplane = Entity("MESH_DP", "better.default", record.name, "envoy", ("mesh-envoy",))
    assert entities(judge(*DEFAULTS, of=found(record, at=1), subject=envoy)) == [dataplane]


def test_a_process_may_have_several_entities():
    verdict = judge(*DEFAULTS, of=found(pod(APP, PROXY), service="web"))
    assert [entity.layer for entity in entities(verdict)] == ["MESH", "K8S_SERVICE"]


def test_a_process_that_no_filter_matches_is_told_so():
    verdict = judge(*DEFAULTS)
    assert verdict.reason is Reason.NO_FINDER
    assert "container app of pod default/productpage-v1-abc" in verdict.detail


def test_a_report_bears_the_container_with_the_real_host_ip():
    (report,) = judge(*DEFAULTS, of=found(service="web")).reports
    assert report.container == Container(
        ID, "app", "productpage-v1-abc", "default", "10.0.0.7", "192.168.0.1"
    )
    (other,) = judge(*DEFAULTS, of=found(service="web"), subject=process(43)).reports
    assert other.container is report.container


# --- settings ---


def test_an_analyzer_without_filters_matches_everything():
    assert entities(judge(analyzer())) == [Entity("K8S_SERVICE", "svc", "i", "p")]


def test_all_filters_must_hold_and_those_behind_a_false_one_are_not_asked():
    fails = '.Pod.LabelSelector "("'
    assert judge(analyzer('eq .Pod.Name "x"', fails)).reason is Reason.NO_FINDER
    assert judge(analyzer(fails, 'eq .Pod.Name "x"')).reason is Reason.TEMPLATE


def test_an_inactive_analyzer_is_not_asked():
    assert judge(analyzer(active=False)).reason is Reason.NO_FINDER


@pytest.mark.parametrize(
    ("service", "reported"),
    [("web", "prod::web"), ("shop::web", "shop::web"), ("a::b::c", "a::b::c")],
)
def test_the_clusters_name_comes_before_a_service_without_a_group(service, reported):
    (entity,) = entities(judge(analyzer(service=service), cluster_name="prod"))
    assert entity.service == reported


def test_namespaces_that_are_not_observed_are_told():
    assert judge(analyzer(), namespaces=("default",)).reports
    verdict = judge(analyzer(), namespaces=("shop", "prod"))
    assert (verdict.reason, verdict.detail) == (Reason.NAMESPACE, "default")


def test_ignored_command_lines_are_nobodys():
    verdict = judge(analyzer(), ignore=(re.compile("^gunicorn"),))
    assert (verdict.reason, verdict.detail) == (Reason.IGNORED, "^gunicorn")


def test_labels_are_split_at_commas():
    (entity,) = entities(judge(analyzer(labels="a, b,,{{.Pod.Namespace}}")))
    assert entity.labels == ("a", "b", "default")


def test_two_analyzers_of_one_entity_make_one_report_the_first_ones():
    verdict = judge(analyzer(labels="first"), analyzer(labels="second"), analyzer(service="x"))
    assert [(e.service, e.labels) for e in entities(verdict)] == [("svc", ("first",)), ("x", ())]


# --- errors ---

FAILING = [
    analyzer('.Pod.LabelSelector "("', layer="MESH"),
    analyzer(service='{{.Pod.LabelValue "nosuch"}}', layer="MESH"),
    analyzer(instance='{{(.Pod.FindContainer "nosuch").Name}}', layer="MESH"),
    analyzer(name='{{.Container.EnvValue "NOSUCH"}}', layer="MESH"),
    analyzer(name='{{.Rover.HostIPV4 "en7"}}', layer="MESH"),
    analyzer(labels='{{.Pod.OwnerName "Deployment"}}', layer="MESH"),
    analyzer(service='{{.Pod.LabelValue "nosuch" ""}}', layer="MESH"),
    analyzer(".Pod.Name", layer="MESH"),
]


@pytest.mark.parametrize("failing", FAILING, ids=range(len(FAILING)))
def test_an_error_is_confined_to_its_analyzer_and_told(failing):
    verdict = judge(failing, analyzer(layer="GENERAL"))
    assert [entity.layer for entity in entities(verdict)] == ["GENERAL"]
    assert verdict.reason is Reason.REPORTED
    assert "analyzer 1 (MESH)" in verdict.detail


@pytest.mark.parametrize("failing", FAILING, ids=range(len(FAILING)))
def test_where_nothing_else_names_the_process_the_error_is_the_reason(failing):
    verdict = judge(failing, *DEFAULTS)
    assert verdict.reason is Reason.TEMPLATE
    assert verdict.detail.startswith("analyzer 1 (MESH): ")


def test_an_error_says_which_key_and_where():
    verdict = judge(analyzer(service='a {{.Container.EnvValue "NOSUCH"}}'))
    assert "service_name, column" in verdict.detail
    assert "sets none of NOSUCH" in verdict.detail
    assert "filter 2, column" in judge(analyzer("true", '.Pod.LabelSelector "("')).detail


# --- contexts ---

ENV = (("A", "1"), ("EMPTY", ""), ("B", "2"))
RICH = pod(
    ContainerRecord("app", f"containerd://{ID}", "", ENV),
    ContainerRecord("logs", "containerd://ab"),
    labels={"app": "web", "tier": "front", "blank": ""},
)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.Rover.InstanceID}}", "agent-1"),
        ("{{.Rover.HostName}}", "node-1"),
        ('{{.Rover.HostIPV4 "eth0"}}', "192.168.0.1"),
        ('{{.Rover.HostIPV6 "eth0"}}', "2001:db8::1"),
        ("{{.Process.ExeFilePath}}", "/usr/bin/python3.11"),
        ("{{.Process.ExeName}}", "gunicorn"),
        ("{{.Process.CommandLine}}", "gunicorn app:main"),
        ("{{.Process.Pid}}", "42"),
        ("{{.Process.WorkDir}}", "/srv"),
        ("{{.Pod.Name}}", "productpage-v1-abc"),
        ("{{.Pod.Namespace}}", "default"),
        ("{{.Pod.Node}}", "node-1"),
        ('{{.Pod.LabelValue "nosuch,blank,tier,app" "d"}}', "front"),
        ('{{.Pod.LabelValue "nosuch, app" "d"}}', "web"),
        ('{{.Pod.LabelValue "nosuch,blank" "d"}}', "d"),
        ('{{.Pod.LabelValue "app"}}', "web"),
        ("{{.Pod.ServiceName}}", "shop"),
        ('{{(.Pod.FindContainer "logs").Name}}', "logs"),
        ('{{(.Pod.FindContainer "logs").ID}}', "containerd://ab"),
        ("{{.Container.Name}}", "app"),
        ("{{.Container.ID}}", f"containerd://{ID}"),
        ('{{.Container.EnvValue "NOSUCH,B,A"}}', "2"),
        ('{{.Container.EnvValue "EMPTY,A"}}x', "x"),
        ('{{.Pod.OwnerName "Deployment,ReplicaSet"}}', "web"),
        ('{{.Pod.OwnerName "ReplicaSet,Deployment"}}', "web-abc"),
        ('{{.Pod.OwnerName "nosuch,Service,Deployment"}}', "shop"),
    ],
)
def test_names_know_all_of_the_contract(template, text):
    of = found(RICH, service="shop", lineage=LINEAGE)
    (entity,) = entities(judge(analyzer(service=template), of=of))
    assert entity.service == text


LINEAGE = (owner("ReplicaSet", "web-abc"), owner("Deployment", "web"))


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ('.Pod.HasContainer "logs"', True),
        ('.Pod.HasContainer "nosuch"', False),
        (".Pod.HasServiceName", True),
        ('.Pod.LabelSelector "app=web,tier in (front),!canary"', True),
        ('.Pod.LabelSelector "app!=web"', False),
        ('.Pod.HasOwnerName "Deployment"', True),
        ('.Pod.HasOwnerName "CronJob"', False),
        ('.Pod.HasOwnerName "service"', True),
        ('eq .Container.Name "app"', True),
        ('eq (.Container.EnvValue "A") "1"', True),
        ('eq .Process.ExeName "gunicorn"', True),
        ('and (eq .Pod.Namespace "default") (not (eq .Pod.Node "x"))', True),
    ],
)
def test_filters_know_all_of_the_contract(condition, holds):
    of = found(RICH, service="shop", lineage=LINEAGE)
    assert bool(judge(analyzer(condition), of=of).reports) is holds


def test_a_former_run_is_known_by_its_own_id():
    record = pod(ContainerRecord("app", "containerd://new", f"containerd://{ID}"))
    (entity,) = entities(judge(analyzer(service="{{.Container.ID}}"), of=found(record)))
    assert entity.service == f"containerd://{ID}"


# --- owners ---


def test_an_owner_that_is_not_known_yet_is_wanted_and_told():
    unasked = owner("ReplicaSet", "web-abc", asked=False)
    judgement = analyzers(analyzer(service='{{.Pod.OwnerName "Deployment"}}')).judge(
        process(), found(lineage=(unasked,))
    )
    assert judgement.wanted == (unasked.ref,)
    assert judgement.verdict.reason is Reason.TEMPLATE
    assert "owners of ReplicaSet web-abc are being asked for" in judgement.verdict.detail


@pytest.mark.parametrize(
    ("template", "lineage"),
    [
        ('{{.Pod.OwnerName "ReplicaSet"}}', (owner("ReplicaSet", asked=False),)),
        ('{{.Pod.OwnerName "Deployment"}}', (owner("DaemonSet", asked=False),)),
        ('{{.Pod.OwnerName "CronJob"}}', (owner("ReplicaSet", asked=False),)),
        ('{{.Pod.OwnerName "Deployment"}}', (owner("Node", group="v1", asked=False),)),
        ('{{.Pod.OwnerName "Deployment"}}', (owner("ReplicaSet", asked=False, controls=False),)),
        ("{{.Pod.Name}}", (owner("ReplicaSet", asked=False),)),
    ],
)
def test_the_api_is_not_asked_where_it_could_not_help(template, lineage):
    judgement = analyzers(analyzer(service=template)).judge(process(), found(lineage=lineage))
    assert judgement.wanted == ()


@pytest.mark.parametrize(
    ("kind", "above"),
    [
        ("CronJob", owner("Job", group="batch/v1", asked=False)),
        ("Rollout", owner("ReplicaSet", asked=False)),
        ("Deployment", owner("CloneSet", group="apps.kruise.io/v1", asked=False)),
    ],
)
def test_the_api_is_asked_where_it_could_help(kind, above):
    subject = analyzers(analyzer(service=f'{{{{.Pod.OwnerName "{kind}"}}}}'))
    assert subject.judge(process(), found(lineage=(above,))).wanted == (above.ref,)


def test_an_owner_that_could_not_be_asked_for_is_told_with_the_reason():
    forbidden = owner("ReplicaSet", fault="RBAC does not let the agent get replicasets")
    of = found(lineage=(forbidden,))
    verdict = judge(analyzer(service='{{.Pod.OwnerName "Deployment"}}'), of=of)
    assert "RBAC does not let the agent get replicasets" in verdict.detail
    verdict = judge(analyzer('.Pod.HasOwnerName "Deployment"'), of=of)
    assert verdict.reason is Reason.TEMPLATE


def test_what_templates_use_is_known_beforehand():
    plain = analyzers(*DEFAULTS)
    assert (plain.use_env, plain.use_owners) == (False, False)
    assert analyzers(analyzer(labels='{{.Container.EnvValue "A"}}')).use_env
    assert analyzers(analyzer('.Pod.HasOwnerName "Job"')).use_owners
    assert not analyzers(analyzer('.Pod.HasOwnerName "Job"', active=False)).use_owners
