"""Pods and services as an API server shows them, as large as real ones."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

NODE = "node-1"


def container_id(*parts: object) -> str:
    """Make 64 hex digits that are the same for the same parts."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def uid_of(*parts: object) -> str:
    return str(uuid.UUID(bytes=hashlib.md5(repr(parts).encode()).digest()))  # noqa: S324


def pod(
    name: str,
    namespace: str = "default",
    *,
    uid: str = "",
    labels: dict[str, str] | None = None,
    containers: tuple[str, ...] = ("app",),
    started: bool = True,
    node: str = NODE,
    ip: str = "10.0.0.7",
    owner: tuple[str, str] | None = None,
    scheme: str = "containerd",
    restarts: int = 0,
) -> dict[str, Any]:
    """Make a pod; its containers' ids follow from its uid, their names and the restarts."""
    uid = uid or uid_of(namespace, name)
    references = []
    if owner:
        kind, owner_name = owner
        references.append(_reference(_group(kind), kind, owner_name))
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": uid,
            "labels": labels if labels is not None else {"app": name},
            "annotations": {"kubernetes.io/psp": "x" * 200},
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "ownerReferences": references,
            "managedFields": [
                {"manager": "kubelet", "fieldsV1": {f"f:field{n}": {} for n in range(40)}}
            ],
        },
        "spec": {
            "nodeName": node,
            "containers": [
                {
                    "name": each,
                    "image": f"registry.example/{each}:1",
                    "env": [{"name": "NAME", "value": each}],
                    "volumeMounts": [{"name": "token", "mountPath": "/var/run/secrets"}],
                }
                for each in containers
            ],
        },
        "status": {
            "phase": "Running" if started else "Pending",
            "hostIP": "192.168.1.10",
            "podIP": ip if started else "",
            "containerStatuses": [
                {
                    "name": each,
                    "ready": started,
                    "restartCount": restarts,
                    **(
                        {"containerID": f"{scheme}://{container_id(uid, each, restarts)}"}
                        if started
                        else {"state": {"waiting": {"reason": "ContainerCreating"}}}
                    ),
                }
                for each in containers
            ],
        },
    }


def service(
    name: str, namespace: str = "default", *, selector: dict[str, str] | None = None
) -> dict[str, Any]:
    """Make a service."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": uid_of("service", namespace, name),
            "labels": {"app": name, "team": "shop"},
            "annotations": {"description": "y" * 300},
            "managedFields": [
                {"manager": "helm", "fieldsV1": {f"f:field{n}": {} for n in range(30)}}
            ],
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "10.96.0.1",
            "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}],
            "selector": selector if selector is not None else {"app": name},
        },
        "status": {"loadBalancer": {}},
    }


def owner_object(
    kind: str, name: str, owned_by: tuple[str, str], namespace: str = "default"
) -> dict[str, Any]:
    """Make a ReplicaSet or a Job with its own owner."""
    group = _group(kind)
    return {
        "apiVersion": group,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": uid_of(kind, name),
            "ownerReferences": [_reference(group, *owned_by)],
        },
    }


def _group(kind: str) -> str:
    return "batch/v1" if kind == "Job" else "apps/v1"


def _reference(group: str, kind: str, name: str) -> dict[str, Any]:
    return {
        "apiVersion": group,
        "kind": kind,
        "name": name,
        "uid": uid_of(kind, name),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def cgroup_of(uid: str, container: str, *, restarts: int = 0, qos: str = "burstable") -> str:
    """Make the cgroup lines of a process in a pod's container (cgroup v2, systemd, containerd)."""
    level = f"kubepods-{qos}" if qos else "kubepods"
    slices = f"/kubepods.slice/{level}.slice" if qos else "/kubepods.slice"
    pod_slice = f"{level}-pod{uid.replace('-', '_')}.slice"
    scope = f"cri-containerd-{container_id(uid, container, restarts)}.scope"
    return f"0::{slices}/{pod_slice}/{scope}\n"
