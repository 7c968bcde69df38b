"""The table of workloads: what is asked of the cluster, and what the backend must have of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from machines.node.images import PROGRAMS
from machines.node.kubectl import Kubectl, Object
from machines.node.place import NODE

Step = Callable[[Kubectl], None]
GRACE: Final = 25
"""Seconds that the pod with a long grace needs to end."""


@dataclass(frozen=True, slots=True)
class Expected:
    """A process at the backend; of its workload's service unless another is named."""

    process: str
    instance: str
    """A regular expression for the whole name."""
    service: str = "service"
    """Without the namespace."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Objects in a namespace of their own, and the processes that they come to.

    Each namespace holds a Service of the name ``service``, which selects ``app=pod``, unless told
    otherwise.
    """

    name: str
    objects: tuple[Object, ...]
    expected: tuple[Expected, ...]
    service: bool = True
    static: bool = False
    """Its objects are files of the kubelet's, not the API's."""
    then: Step | None = None
    """What is done once the objects are there."""

    @property
    def namespace(self) -> str:
        """Its own."""
        return self.name.replace(" ", "-")


def container(name: str = "web", *command: str, **more: object) -> Object:
    """Return a container that runs a program of its name, or a command."""
    return {
        "name": name,
        "image": PROGRAMS,
        "imagePullPolicy": "Never",
        "command": list(command) or [f"/bin/{name}"],
        **more,
    }


def pod_spec(*containers: Object, **more: object) -> Object:
    """Return a pod's spec; it ends in a second."""
    return {
        "terminationGracePeriodSeconds": 1,
        "containers": list(containers) or [container()],
        **more,
    }


def pod(spec: Object, *, labels: dict[str, str] | None = None, name: str = "pod") -> Object:
    """Return a Pod; its labels are the Service's unless told otherwise."""
    chosen = {"app": "pod"} if labels is None else labels
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": chosen},
        "spec": spec,
    }


def service(name: str = "service", app: str = "pod") -> Object:
    """Return a Service for the pods of a label."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": app}, "ports": [{"port": 80}]},
    }


def _template(spec: Object) -> Object:
    return {"metadata": {"labels": {"app": "pod"}}, "spec": spec}


def _of(kind: str, version: str, **spec: object) -> Object:
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": kind.lower()},
        "spec": spec,
    }


def _chosen(kind: str, **more: object) -> Object:
    selector = {"matchLabels": {"app": "pod"}}
    return _of(kind, "apps/v1", selector=selector, template=_template(pod_spec()), **more)


def _wait_for_pod(kubectl: Kubectl, namespace: str) -> None:
    kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/pod", "--timeout=300s")


def _debug(kubectl: Kubectl) -> None:
    _wait_for_pod(kubectl, "ephemeral")
    kubectl(
        *("debug", "-n", "ephemeral", "pod/pod", f"--image={PROGRAMS}", "--container=debugger"),
        *("--image-pull-policy=Never", "--target=web", "--profile=general", "--quiet"),
        *("--", "/bin/debugger"),
    )


def _exec(kubectl: Kubectl) -> None:
    _wait_for_pod(kubectl, "exec")
    kubectl.begin("exec", "-n", "exec", "pod", "--", "/bin/executed")


def _late_service(kubectl: Kubectl) -> None:
    _wait_for_pod(kubectl, "late-service")
    kubectl("apply", "-n", "late-service", "-f", "-", stdin=json.dumps(service()))


def _relabel(kubectl: Kubectl) -> None:
    _wait_for_pod(kubectl, "changed-labels")
    kubectl("label", "-n", "changed-labels", "--overwrite", "pod/pod", "app=other")


def _same_name(kubectl: Kubectl) -> None:
    _wait_for_pod(kubectl, "same-name-again")
    kubectl("delete", "-n", "same-name-again", "pod/pod")
    kubectl(
        "apply",
        "-n",
        "same-name-again",
        "-f",
        "-",
        stdin=json.dumps(pod(pod_spec(container("worker")))),
    )


PROBE: Final = {"exec": {"command": ["/bin/true"]}, "periodSeconds": 1}
WEB: Final = (Expected("web", "pod"),)
STUBBORN: Final = ("/bin/sh", "-c", "trap '' TERM; /bin/sleep 100000; true")
WORKLOADS: Final = (
    Workload(
        "deployment",
        (_chosen("Deployment", replicas=2),),
        (Expected("web", r"deployment-[a-z0-9]+-[a-z0-9]{5}"),) * 2,
    ),
    Workload(
        "statefulset",
        (_chosen("StatefulSet", replicas=2, serviceName="service"),),
        (Expected("web", "statefulset-0"), Expected("web", "statefulset-1")),
    ),
    Workload("daemonset", (_chosen("DaemonSet"),), (Expected("web", r"daemonset-[a-z0-9]{5}"),)),
    Workload(
        "job",
        (
            _of(
                "Job",
                "batch/v1",
                template=_template(pod_spec(container("worker"), restartPolicy="Never")),
            ),
        ),
        (Expected("worker", r"job-[a-z0-9]{5}"),),
    ),
    Workload(
        "cronjob",
        (
            _of(
                "CronJob",
                "batch/v1",
                schedule="* * * * *",
                concurrencyPolicy="Forbid",
                jobTemplate={
                    "spec": {
                        "template": _template(pod_spec(container("worker"), restartPolicy="Never"))
                    }
                },
            ),
        ),
        (Expected("worker", r"cronjob-\d+-[a-z0-9]{5}"),),
    ),
    Workload(
        "init",
        (pod(pod_spec(container(), initContainers=[container("first", "/bin/sleep", "8")])),),
        (Expected("sleep", "pod"), *WEB),
    ),
    Workload(
        "restartable init",
        (
            pod(
                pod_spec(
                    container(),
                    initContainers=[container("sidecar", restartPolicy="Always")],
                )
            ),
        ),
        (Expected("sidecar", "pod"), *WEB),
    ),
    Workload("ephemeral", (pod(pod_spec()),), (*WEB, Expected("debugger", "pod")), then=_debug),
    Workload(
        "static",
        (pod(pod_spec(container("static")), name="static"),),
        (Expected("static", f"static-{NODE}"),),
        static=True,
    ),
    Workload(
        "shared pid",
        (pod(pod_spec(container(), container("worker"), shareProcessNamespace=True)),),
        (*WEB, Expected("worker", "pod")),
    ),
    Workload("host pid", (pod(pod_spec(hostPID=True)),), WEB),
    Workload("host network", (pod(pod_spec(hostNetwork=True)),), WEB),
    Workload(
        "privileged nested",
        (
            pod(
                pod_spec(
                    container(
                        "privileged",
                        *("/bin/unshare", "--pid", "--fork", "--mount", "/bin/nested"),
                        securityContext={"privileged": True},
                    )
                )
            ),
        ),
        (Expected("unshare", "pod"), Expected("nested", "pod")),
    ),
    Workload("exec", (pod(pod_spec()),), (*WEB, Expected("executed", "pod")), then=_exec),
    Workload("exec probe", (pod(pod_spec(container(readinessProbe=PROBE))),), WEB),
    Workload("no labels", (pod(pod_spec(), labels={}),), ()),
    Workload("no service", (pod(pod_spec()),), (), service=False),
    Workload(
        "several containers",
        (pod(pod_spec(container(), container("worker"), container("sidecar"))),),
        (*WEB, Expected("worker", "pod"), Expected("sidecar", "pod")),
    ),
    Workload("late service", (pod(pod_spec()),), WEB, service=False, then=_late_service),
    Workload(
        "changed labels",
        (pod(pod_spec()), service("other", "other")),
        (*WEB, Expected("web", "pod", "other")),
        then=_relabel,
    ),
    Workload(
        "crash loop",
        (pod(pod_spec(container("web", "/bin/sh", "-c", "/bin/sleep 2; exit 1"))),),
        (Expected("sh", "pod"), Expected("sleep", "pod")),
    ),
    Workload(
        "completed",
        (pod(pod_spec(container("web", "/bin/sleep", "8"), restartPolicy="Never")),),
        (Expected("sleep", "pod"),),
    ),
    Workload(
        "long grace",
        (pod({**pod_spec(container("web", *STUBBORN)), "terminationGracePeriodSeconds": GRACE}),),
        (Expected("sh", "pod"), Expected("sleep", "pod")),
    ),
    Workload(
        "same name again",
        (pod(pod_spec()),),
        (*WEB, Expected("worker", "pod")),
        then=_same_name,
    ),
)
