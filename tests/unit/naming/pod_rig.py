"""Pods, processes and analyzers to judge with."""

from __future__ import annotations

from rover.config.contexts import POD_FILTERS, POD_NAMES
from rover.config.filters import Filter
from rover.config.settings import AnalyzerSettings, KubernetesSettings
from rover.gotemplate import Template
from rover.k8s.index import Ancestor, PodContainer
from rover.k8s.records import ContainerRecord, OwnerRef, PodRecord
from rover.model import Process, ProcessKey
from rover.naming.host_facts import Host
from rover.naming.pods.analyzers import Analyzers

HOST = Host("agent-1", name="node-1", interfaces=lambda: {"eth0": ["192.168.0.1", "2001:db8::1"]})
ID = "7dae778c37bd1204677518f1032bbecf01f5c41878ea7bd370021263417cc626"
UID = "0e886e9a-3879-45f9-b44d-86ef9df03224"

LABEL = '{{.Pod.LabelValue "service.istio.io/canonical-name,app.kubernetes.io/name,app" ""}}'


def analyzer(*filters, layer="K8S_SERVICE", service="svc", instance="i", name="p", **more):
    labels = more.get("labels")
    return AnalyzerSettings(
        tuple(Filter.compile(each, POD_FILTERS) for each in filters),
        layer,
        Template.compile(service, POD_NAMES),
        Template.compile(instance, POD_NAMES),
        Template.compile(name, POD_NAMES),
        Template.compile(labels, POD_NAMES) if labels else None,
        more.get("active", True),
    )


def standard(filters, layer, service, label):
    return analyzer(
        *filters,
        layer=layer,
        service=f"{service}.{{{{.Pod.Namespace}}}}",
        instance="{{.Pod.Name}}",
        name="{{.Process.ExeName}}",
        labels=label,
    )


ENVOY = '.Pod.HasContainer "istio-proxy"'
DEFAULTS = (
    standard((ENVOY, 'eq .Container.Name "istio-proxy"'), "MESH_DP", LABEL, "mesh-envoy"),
    standard((ENVOY, 'ne .Container.Name "istio-proxy"'), "MESH", LABEL, "mesh-application"),
    standard((".Pod.HasServiceName",), "K8S_SERVICE", "{{.Pod.ServiceName}}", "k8s-service"),
)


def analyzers(*items, namespaces=(), ignore=(), cluster_name=""):
    settings = KubernetesSettings(namespaces=tuple(namespaces), analyzers=items)
    return Analyzers(settings, ignore, HOST, cluster_name)


def process(pid=42, *, cgroup="", command_line="gunicorn app:main", **facts):
    known = {
        "key": ProcessKey(pid, 1),
        "ppid": 1,
        "name": "gunicorn",
        "exe": "/usr/bin/python3.11",
        "arguments": command_line.encode(),
        "cwd": "/srv",
        "uid": 0,
        "cgroup": cgroup,
        "pid_namespace": 1,
        "mount_namespace": 1,
        "namespace_pid": 7,
        "image": 1,
    }
    return Process(**{**known, **facts})


def pod(*containers, name="productpage-v1-abc", namespace="default", **facts):
    return PodRecord(
        namespace,
        name,
        facts.get("uid", UID),
        facts.get("uid", UID),
        node="node-1",
        pod_ip="10.0.0.7",
        host_ip="192.168.0.1",
        labels=facts.get("labels", {"app": "productpage"}),
        containers=containers or (ContainerRecord("app", f"containerd://{ID}"),),
        owners=facts.get("owners", ()),
    )


def found(record=None, *, at=0, container_id=ID, service="", lineage=()):
    record = record or pod()
    return PodContainer(record, record.containers[at], container_id, service, lineage)


def owner(kind, name="web", *, asked=True, fault="", group="apps/v1", controls=True):
    return Ancestor(OwnerRef(group, kind, name, f"uid-{kind}-{name}", controls), asked, fault)
