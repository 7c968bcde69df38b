"""What is kept of the cluster's objects, and the messages that carry it to its owner.

The records hold what names and filters ask for and nothing else: a pod comes as 10 KB of JSON and
a node's services are those of the whole cluster.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class OwnerRef:
    """One of an object's ``metadata.ownerReferences``."""

    api_version: str
    kind: str
    name: str
    uid: str
    controls: bool = True
    """False where the reference says that this owner is not the controller."""


@dataclass(frozen=True, slots=True)
class ContainerRecord:
    """One container of a pod, of whatever kind: ordinary, init, sidecar or ephemeral."""

    name: str
    status_id: str = ""
    """With its scheme, ``containerd://<id>``; "" until the kubelet has reported it."""
    previous_id: str = ""
    """The same of the run before a restart."""
    env: tuple[tuple[str, str], ...] = ()
    """Variables with a literal value, where some template asks for them."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The container's ids without scheme, the present run first."""
        bare = (bare_id(self.status_id), bare_id(self.previous_id))
        return tuple(dict.fromkeys(container_id for container_id in bare if container_id))


@dataclass(frozen=True, slots=True)
class PodRecord:
    """A pod of this node."""

    namespace: str
    name: str
    uid: str
    path_uid: str
    """UID in its cgroup paths: of a static pod the hash of its configuration, else `uid`."""
    node: str = ""
    pod_ip: str = ""
    host_ip: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    containers: tuple[ContainerRecord, ...] = ()
    owners: tuple[OwnerRef, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name, which one pod has at a time."""
        return self.namespace, self.name

    def container(self, name: str) -> ContainerRecord | None:
        """Return the container of that name."""
        return next((each for each in self.containers if each.name == name), None)


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """A service of the cluster, as far as it selects pods."""

    namespace: str
    name: str
    selector: tuple[tuple[str, str], ...] = ()
    """Pairs that a pod's labels must all hold; empty: it selects no pod."""

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.namespace, self.name


@dataclass(frozen=True, slots=True)
class PodsListed:
    """All pods of the node; those that are not in it have gone."""

    pods: tuple[PodRecord, ...]


@dataclass(frozen=True, slots=True)
class PodSeen:
    """A pod is new or has changed."""

    pod: PodRecord


@dataclass(frozen=True, slots=True)
class PodGone:
    """A pod was deleted, its last state with it."""

    pod: PodRecord


@dataclass(frozen=True, slots=True)
class ServicesListed:
    """All services of the cluster; those that are not in it have gone."""

    services: tuple[ServiceRecord, ...]


@dataclass(frozen=True, slots=True)
class ServiceSeen:
    """A service is new or has changed."""

    service: ServiceRecord


@dataclass(frozen=True, slots=True)
class ServiceGone:
    """A service was deleted."""

    service: ServiceRecord


@dataclass(frozen=True, slots=True)
class OwnersFound:
    """Who owns an object that itself owns a pod."""

    uid: str
    """The object that was asked about."""
    owners: tuple[OwnerRef, ...]
    fault: str = ""
    """Why it could not be asked; it is asked again later."""


Message: TypeAlias = (
    "PodsListed | PodSeen | PodGone | ServicesListed | ServiceSeen | ServiceGone | OwnersFound"
)


def bare_id(status_id: str) -> str:
    """Drop the scheme of a container id as the pod's status has it."""
    return status_id.rpartition("://")[2]
