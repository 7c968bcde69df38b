"""What the cluster's API lets the agent do, verb by verb."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Final

from rover.config.settings import kubernetes_active
from rover.doctor.checks import Check, fail, ok, warn
from rover.errors import KubernetesError
from rover.k8s.faults import ApiFault, Cause

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rover.config.settings import KubernetesSettings, Settings
    from rover.k8s.access import Access

WITHIN: Final = 5.0
"""Seconds for each question."""
CREDENTIALS: Final = "cluster credentials"
OWNERS: Final = (("apps/v1", "replicasets"), ("batch/v1", "jobs"))
DENIED: Final = os.strerror(errno.EACCES)
NOBODY: Final = "rover-doctor-asks-for-nobody"
MEND: Final = {
    Cause.FORBIDDEN: "allow the verb in the agent's ClusterRole, as deploy/daemonset.yaml has it",
    Cause.CREDENTIALS: "the token is not accepted: is the ServiceAccount mounted, is it in force?",
    Cause.TLS: "check the certificate authority of the kubeconfig or of the account's mount",
}


def checks(settings: Settings) -> Iterator[Check]:
    """Ask the API as the agent does."""
    kubernetes = settings.process_discovery.kubernetes
    if not kubernetes_active(settings, os.environ):
        yield ok("Kubernetes", "not active: this is no pod, and nothing has it active")
        return
    try:
        # the client and its 20 MB are loaded where there is a cluster alone
        from rover.k8s.access import by_kubeconfig, in_cluster  # noqa: PLC0415

        access = by_kubeconfig(kubernetes.kubeconfig) if kubernetes.kubeconfig else in_cluster()
    except KubernetesError as error:
        readable = f"let uid {os.geteuid()} read it, " if DENIED in str(error) else ""
        yield fail(
            CREDENTIALS,
            str(error),
            f"{readable}name {'another' if readable else 'a'} kubeconfig in "
            "process_discovery.kubernetes.kubeconfig, or run it in a pod with its ServiceAccount "
            "mounted",
        )
        return
    yield ok(CREDENTIALS, f"for {access.server}")
    try:
        yield from _verbs(access, kubernetes)
    finally:
        access.close()


def _verbs(access: Access, kubernetes: KubernetesSettings) -> Iterator[Check]:
    node = kubernetes.node_name
    if node:
        yield ok("node name", node)
    else:
        yield warn(
            "node name",
            "not set: it is asked of the agent's own pod, or is this host's name",
            "set process_discovery.kubernetes.node_name by the downward API from spec.nodeName",
        )
    mine = {"fieldSelector": f"spec.nodeName={node or socket.gethostname().lower()}"}
    watch = {"watch": "1", "timeoutSeconds": "1", "resourceVersion": "0"}
    yield _asked(access, "list pods", "/api/v1/pods", {**mine, "limit": "1"})
    yield _asked(access, "watch pods", "/api/v1/pods", {**mine, **watch})
    yield _asked(access, "list services", "/api/v1/services", {"limit": "1"})
    yield _asked(access, "watch services", "/api/v1/services", watch)
    if _asks_for_owners(kubernetes):
        for version, kinds in OWNERS:
            path = f"/apis/{version}/namespaces/default/{kinds}/{NOBODY}"
            yield _asked(access, f"get {kinds}", path, {})


def _asks_for_owners(kubernetes: KubernetesSettings) -> bool:
    used: set[str] = set()
    for each in kubernetes.analyzers:
        if each.active:
            names = (each.service_name, each.instance_name, each.process_name, each.labels)
            used.update(*(part.uses for part in each.filters))
            used.update(*(part.uses for part in names if part is not None))
    return bool(used & {"OwnerName", "HasOwnerName"})


def _asked(access: Access, what: str, path: str, query: dict[str, str]) -> Check:
    try:
        with access.get(path, query, read_timeout=WITHIN, what=what):
            pass
    except ApiFault as fault:
        if fault.cause is Cause.NOT_FOUND and path.endswith(NOBODY):
            return ok(f"cluster: {what}", "allowed")
        mend = MEND.get(fault.cause, "is the API server's address right, and reachable?")
        return fail(f"cluster: {what}", str(fault), mend)
    return ok(f"cluster: {what}", "allowed")
