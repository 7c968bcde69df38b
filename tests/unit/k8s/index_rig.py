"""Records to feed an index with, and a clock in the hand."""

from __future__ import annotations

from dataclasses import replace

from rover.k8s.cgroup import ContainerRef
from rover.k8s.records import ContainerRecord, PodRecord, ServiceRecord


def ref(container_id, pod_uid=""):
    return ContainerRef(container_id, "containerd", pod_uid)


def pod(name="web", uid="u1", *, labels=None, ids=("a",), **more):
    containers = tuple(
        ContainerRecord(f"c{at}", f"containerd://{each}" if each else "")
        for at, each in enumerate(ids)
    )
    labels = {"app": name} if labels is None else labels
    record = PodRecord("shop", name, uid, uid, labels=labels, containers=containers)
    return replace(record, **more)


def service(name, namespace="shop", **selector):
    return ServiceRecord(namespace, name, tuple(sorted(selector.items())))


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def unused(_):
    return False
