"""The cluster as a part of the agent: its watches and questions behind one start and stop.

Importing this costs nothing; the official client and its 20 MB are loaded by `Cluster.start`.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rover.errors import KubernetesError
from rover.guard import Guard
from rover.k8s.faults import ApiFault
from rover.k8s.objects import pod_record, service_record
from rover.k8s.owners import OwnerResolver
from rover.k8s.records import (
    PodGone,
    PodSeen,
    PodsListed,
    ServiceGone,
    ServiceSeen,
    ServicesListed,
)
from rover.k8s.watch import Kind, Timing, Watch

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rover.config.settings import KubernetesSettings
    from rover.k8s.access import Access
    from rover.k8s.records import Message, OwnerRef, PodRecord, ServiceRecord
    from rover.k8s.watch import WatchState

log = logging.getLogger("rover.k8s")

OWN_NAMESPACE: Final = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
"""Where the ServiceAccount's mount tells a pod its namespace."""
_READ_TIMEOUT: Final = 10.0
_ATTEMPTS: Final = 4
_PAUSE: Final = 0.5
"""Seconds between two attempts."""


class Cluster:
    """Watches this node's pods and the cluster's services, and finds out owners."""

    def __init__(
        self,
        settings: KubernetesSettings,
        post: Callable[[Message], object],
        *,
        with_env: bool = True,
        guard: Guard | None = None,
        timing: Timing | None = None,
    ) -> None:
        """Prepare; nothing is loaded or asked before `start`.

        Args:
            settings: Where the cluster is, and which node this is.
            post: Takes the news, for `rover.naming.pods.join.PodJoin.apply`, or returns False
                where it has no room for it; called by several threads.
            with_env: Keep containers' variables (`Analyzers.use_env`).
            guard: Keeps the threads going where a step of theirs fails.
            timing: Times of the watches, where not the usual ones.
        """
        self._settings = settings
        self._post = post
        self._with_env = with_env
        self._guard = guard or Guard()
        self._timing = timing
        self._pods: Watch[PodRecord] | None = None
        self._services: Watch[ServiceRecord] | None = None
        self._owners: OwnerResolver | None = None
        self.node_name = settings.node_name
        """This node; known after `start` at the latest."""

    def start(self) -> None:
        """Read the credentials and start to watch; does not wait for the first list.

        Raises:
            KubernetesError: There are no usable credentials, or this node's name cannot be told.
        """
        # The sole place that loads the client, and only where Kubernetes is active.
        from rover.k8s.access import by_kubeconfig, in_cluster  # noqa: PLC0415

        path = self._settings.kubeconfig

        def connect() -> Access:
            return by_kubeconfig(path) if path else in_cluster()

        access = connect()
        self.node_name = self.node_name or _find_node_name(access, in_cluster=not path)
        log.info("cluster server=%s node=%s", access.server, self.node_name)
        pods = pods_of(self.node_name, with_env=self._with_env)
        how: Any = {"timing": self._timing, "guard": self._guard}
        self._pods = Watch(pods, access, self._post, **how)
        self._services = Watch(SERVICES, connect(), self._post, **how)
        self._owners = OwnerResolver(connect(), self._post, self._guard)
        self._pods.start()
        self._services.start()

    def list_pods_again(self) -> None:
        """Have the node's pods listed, as something is missing; never waits. Any thread."""
        if self._pods and self._pods.refresh():
            log.info("pods are listed again: what is known of them is not all there is")

    def ask_owner(self, namespace: str, owner: OwnerRef) -> None:
        """Have it found out who owns an owner of a pod; never waits. Any thread."""
        if self._owners:
            self._owners.ask(namespace, owner)

    def states(self) -> tuple[WatchState, ...]:
        """Tell how the watches are doing. Any thread."""
        return tuple(watch.state() for watch in (self._pods, self._services) if watch)

    def wait_listed(self, timeout: float) -> bool:
        """Wait until pods and services have been listed and posted."""
        until = time.monotonic() + timeout
        watches = [watch for watch in (self._pods, self._services) if watch]
        return all(watch.wait_listed(max(0.0, until - time.monotonic())) for watch in watches)

    def stop(self, timeout: float = 1.0) -> bool:
        """Post nothing more and end all threads.

        Returns:
            False where one of them has not ended in time.
        """
        parts = [part for part in (self._pods, self._services, self._owners) if part]
        for part in parts:
            part.stop(0.0)
        until = time.monotonic() + timeout
        return all(part.stop(max(0.0, until - time.monotonic())) for part in parts)


SERVICES: Final = Kind(
    resource="services",
    path="/api/v1/services",
    query={},
    record=service_record,
    listed=ServicesListed,
    seen=ServiceSeen,
    gone=ServiceGone,
)
"""All services of the cluster."""


def pods_of(node: str, *, with_env: bool) -> Kind[PodRecord]:
    """Describe the watch of one node's pods: a wider one from each node has hurt real clusters."""

    def record(item: object) -> PodRecord | None:
        pod = pod_record(item, with_env=with_env)
        # A server that does not know the selector would send all pods.
        return pod if pod.node in {node, ""} else None

    return Kind(
        resource="pods",
        path="/api/v1/pods",
        query={"fieldSelector": f"spec.nodeName={node}"},
        record=record,
        listed=PodsListed,
        seen=PodSeen,
        gone=PodGone,
    )


def _own_pod(access: Access) -> PodRecord:
    """Get the agent's own pod; a server that has just started may refuse it for a moment."""
    namespace = Path(OWN_NAMESPACE).read_text(encoding="utf-8").strip()
    name = os.environ.get("HOSTNAME") or socket.gethostname()
    path = f"/api/v1/namespaces/{namespace}/pods/{name}"
    for attempt in range(_ATTEMPTS):
        try:
            with access.get(path, {}, read_timeout=_READ_TIMEOUT, what="get pods") as answer:
                content = b"".join(answer.chunks(_READ_TIMEOUT))
            return pod_record(json.loads(content), with_env=False)
        except ApiFault as fault:
            if attempt == _ATTEMPTS - 1:
                raise
            log.warning("own pod not known yet, asking again: %s", fault)
            time.sleep(_PAUSE)
    raise AssertionError("the last attempt returns or raises")


def _find_node_name(access: Access, *, in_cluster: bool) -> str:
    """Tell this node's name where the settings do not: by the agent's own pod, or the host's."""
    if not in_cluster:
        return socket.gethostname().lower()
    try:
        pod = _own_pod(access)
    except (ApiFault, OSError, ValueError) as error:
        raise KubernetesError(
            "process_discovery.kubernetes.node_name is not set, and the agent's own pod cannot be"
            f" asked: {error}; set it by the downward API from spec.nodeName"
        ) from error
    if not pod.node:
        raise KubernetesError(
            "process_discovery.kubernetes.node_name is not set, and the agent's own pod is on no"
            " node; set it by the downward API from spec.nodeName"
        )
    return pod.node
