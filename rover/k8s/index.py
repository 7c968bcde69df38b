"""What is known of this node's pods, found by container.

The one discovery thread owns the index and feeds it the messages of the watches. Each message
yields the containers whose facts it changed, so that their processes alone are judged again. A
deleted pod, and the former run of a restarted container, stay for a grace time and as long as a
process is left of them: what shuts down keeps its name.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rover.guard import Defect, Guard
from rover.k8s.records import (
    ContainerRecord,
    OwnerRef,
    OwnersFound,
    PodGone,
    PodRecord,
    PodSeen,
    PodsListed,
    ServiceGone,
    ServiceSeen,
    ServicesListed,
)
from rover.k8s.services import Pair, Services, pairs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rover.k8s.cgroup import ContainerRef
    from rover.k8s.records import Message

GRACE: Final = 60.0
"""Seconds for which a deleted pod is kept at least; twice a pod's usual time to shut down."""
MAX_GONE: Final = 1_000
"""Deleted pods kept at most; then the one that went first is dropped."""
MAX_OWNERS: Final = 4_096
"""Owners kept at most whose own owners are known; the one learned first is dropped."""
MAX_LINEAGE: Final = 16
"""Owners above one pod that are looked at."""

_NOTHING: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Ancestor:
    """An owner of a pod, or an owner's owner."""

    ref: OwnerRef
    asked: bool
    """Its own owners are known, and are in the lineage."""
    fault: str = ""
    """Why they could not be asked for."""


@dataclass(frozen=True, slots=True)
class PodContainer:
    """A container with its pod: all that analyzers look at."""

    pod: PodRecord
    container: ContainerRecord
    id: str
    """Without scheme; of a former run, where that is what the process belongs to."""
    service: str = ""
    """Name of the service that selects the pod, "" where none does."""
    lineage: tuple[Ancestor, ...] = ()
    """The pod's owners, nearest first."""


@dataclass(slots=True)
class _Entry:
    pod: PodRecord
    service: str = ""
    gone_at: float | None = None
    ids: dict[str, str] = field(default_factory=dict)
    """Container ids to container names, former runs included."""
    former: dict[str, float] = field(default_factory=dict)
    """Ids that the pod's status no longer has, and since when."""


class PodIndex:
    """This node's pods by container, with their services and owners."""

    def __init__(
        self,
        *,
        grace: float = GRACE,
        clock: Callable[[], float] = time.monotonic,
        guard: Guard | None = None,
    ) -> None:
        """Begin empty.

        Args:
            grace: seconds for which a deleted pod is kept at least.
            clock: seconds that only grow.
            guard: takes in each pod, so that a defect leaves out that one alone.
        """
        self._guard = guard or Guard()
        self._grace = grace
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._live: dict[tuple[str, str], str] = {}
        self._by_container: dict[str, str] = {}
        self._by_path: dict[str, str] = {}
        self._by_label: dict[Pair, set[str]] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._services = Services()
        self._owners: OrderedDict[str, OwnersFound] = OrderedDict()
        self.pods_listed = False
        """A list of pods has come: what is not in it is not there, rather than not known yet."""
        self.services_listed = False

    @property
    def figures(self) -> dict[str, int]:
        """Return the sizes of all that is kept."""
        return {
            "pods": len(self._live),
            "pods_gone": len(self._gone),
            "containers": len(self._by_container),
            "services": len(self._services),
            "owners": len(self._owners),
        }

    def pods(self) -> dict[tuple[str, str], tuple[PodRecord, str]]:
        """Return each live pod with its service."""
        entries = {key: self._entries[uid] for key, uid in self._live.items()}
        return {key: (entry.pod, entry.service) for key, entry in entries.items()}

    def find(self, ref: ContainerRef) -> PodContainer | None:
        """Return the container and its pod, None where no pod has shown it yet."""
        uid = self._by_container.get(ref.id)
        if uid is None:
            return None
        entry = self._entries[uid]
        name = entry.ids[ref.id]
        container = entry.pod.container(name) or ContainerRecord(name)
        return PodContainer(entry.pod, container, ref.id, entry.service, self._lineage(entry.pod))

    def named(self, namespace: str, name: str) -> tuple[PodRecord, frozenset[str]] | None:
        """Return a live pod and the ids of its containers, former runs included; None: no such."""
        uid = self._live.get((namespace, name))
        if uid is None:
            return None
        return self._entries[uid].pod, frozenset(self._entries[uid].ids)

    def pod_at(self, path_uid: str) -> PodRecord | None:
        """Return the pod of a UID in a cgroup path, whether it has shown its containers or not."""
        uid = self._by_path.get(path_uid)
        return self._entries[uid].pod if uid is not None else None

    def apply(self, message: Message) -> frozenset[str]:
        """Take in what a watch tells.

        Returns:
            Ids of the containers whose `find` may give another answer now.
        """
        match message:
            case PodSeen(pod):
                changed = self._each(pod, self._put)
            case PodGone(pod):
                changed = self._each(pod, self._take_out)
            case PodsListed(pods):
                changed = self._put_all(pods)
            case ServiceSeen(service):
                changed = self._reselect(self._services.put(service))
            case ServiceGone(service):
                changed = self._reselect(self._services.remove(service.key))
            case ServicesListed(services):
                self.services_listed = True
                changed = self._reselect(self._services.put_all(services))
            case OwnersFound():
                changed = self._own(message)
        return changed

    def expire(self, in_use: Callable[[str], bool]) -> None:
        """Forget what has been gone for the grace time, unless one of its containers is in use."""
        before = self._clock() - self._grace
        for uid in list(self._gone):
            entry = self._entries[uid]
            overdue = entry.gone_at is not None and entry.gone_at <= before
            if overdue and not any(map(in_use, entry.ids)):
                self._drop(uid)
        for entry in self._entries.values():
            for container_id in [i for i, since in entry.former.items() if since <= before]:
                if not in_use(container_id):
                    del entry.former[container_id]
                    self._unlink(entry, container_id)

    def _put_all(self, pods: tuple[PodRecord, ...]) -> frozenset[str]:
        """Take in a list: what is not in it has gone unseen."""
        self.pods_listed = True
        here = {pod.uid for pod in pods}
        for uid in [uid for uid in self._live.values() if uid not in here]:
            if isinstance(self._guard.one("pod", uid, self._leave, uid), Defect):
                self._strike(uid)
        return _NOTHING.union(*[self._each(pod, self._put) for pod in pods])

    def _each(
        self, pod: PodRecord, take_in: Callable[[PodRecord], frozenset[str]]
    ) -> frozenset[str]:
        """Take in news of one pod; where that fails, the index is as if it had never been."""
        about = f"{pod.namespace}/{pod.name}"
        changed = self._guard.one("pod", about, take_in, pod)
        if isinstance(changed, Defect):
            self._strike(pod.uid)
            return _NOTHING
        return changed

    def _strike(self, uid: str) -> None:
        """Take out a pod that may be there in part, wherever it is."""
        self._entries.pop(uid, None)
        self._gone.pop(uid, None)
        self._live = {key: each for key, each in self._live.items() if each != uid}
        for filed in (self._by_container, self._by_path):
            for key in [key for key, each in filed.items() if each == uid]:
                del filed[key]
        for uids in self._by_label.values():
            uids.discard(uid)

    def _take_out(self, pod: PodRecord) -> frozenset[str]:
        """Take in a pod's last state, and mark it as gone."""
        if self._live.get(pod.key) != pod.uid:
            return _NOTHING
        changed = self._put(pod)
        self._leave(pod.uid)
        return changed

    def _put(self, pod: PodRecord) -> frozenset[str]:
        entry = self._entries.get(pod.uid)
        if entry is not None and entry.gone_at is None and entry.pod == pod:
            return _NOTHING
        other = self._live.get(pod.key)
        if other is not None and other != pod.uid:
            # The name has passed to a new pod; the deletion of the old one was missed.
            self._leave(other)
        if entry is None:
            entry = self._entries[pod.uid] = _Entry(pod)
        else:
            self._unfile(entry.pod)
            self._forget_paths(entry.pod)
        entry.pod, entry.gone_at = pod, None
        self._gone.pop(pod.uid, None)
        self._live[pod.key] = pod.uid
        self._by_path[pod.path_uid] = self._by_path[pod.uid] = pod.uid
        for pair in pairs_of(pod):
            self._by_label.setdefault(pair, set()).add(pod.uid)
        entry.service = self._services.of(pod)
        return self._link(entry)

    def _link(self, entry: _Entry) -> frozenset[str]:
        """Make the pod's containers findable; return the ids of all, former ones included."""
        present = {each: c.name for c in entry.pod.containers for each in c.ids}
        now = self._clock()
        entry.former = {i: entry.former.get(i, now) for i in entry.ids if i not in present}
        entry.ids.update(present)
        for container_id in present:
            uid = self._by_container.get(container_id)
            if uid is not None and uid != entry.pod.uid:
                # A static pod's mirror was made anew: its containers went on under another uid.
                self._entries[uid].ids.pop(container_id, None)
                self._entries[uid].former.pop(container_id, None)
            self._by_container[container_id] = entry.pod.uid
        return frozenset(entry.ids)

    def _leave(self, uid: str) -> None:
        """Mark a pod as gone."""
        entry = self._entries.get(uid)
        if entry is None or entry.gone_at is not None:
            return
        entry.gone_at = self._clock()
        self._unfile(entry.pod)
        if self._live.get(entry.pod.key) == uid:
            del self._live[entry.pod.key]
        self._gone[uid] = None
        if len(self._gone) > MAX_GONE:
            self._drop(next(iter(self._gone)))

    def _drop(self, uid: str) -> None:
        entry = self._entries.pop(uid)
        self._gone.pop(uid, None)
        for container_id in list(entry.ids):
            self._unlink(entry, container_id)
        self._forget_paths(entry.pod)

    def _forget_paths(self, pod: PodRecord) -> None:
        for path_uid in (pod.path_uid, pod.uid):
            if self._by_path.get(path_uid) == pod.uid:
                del self._by_path[path_uid]

    def _unlink(self, entry: _Entry, container_id: str) -> None:
        del entry.ids[container_id]
        if self._by_container.get(container_id) == entry.pod.uid:
            del self._by_container[container_id]

    def _unfile(self, pod: PodRecord) -> None:
        for pair in pairs_of(pod):
            uids = self._by_label.get(pair)
            if uids is not None:
                uids.discard(pod.uid)
                if not uids:
                    del self._by_label[pair]

    def _reselect(self, pairs: Iterable[Pair]) -> frozenset[str]:
        """Find the service anew of the pods that bear one of these labels."""
        touched = {uid for pair in set(pairs) for uid in self._by_label.get(pair, ())}
        changed: set[str] = set()
        for uid in touched:
            entry = self._entries[uid]
            service = self._services.of(entry.pod)
            if service != entry.service:
                entry.service = service
                changed.update(entry.ids)
        return frozenset(changed)

    def _own(self, found: OwnersFound) -> frozenset[str]:
        self._owners[found.uid] = found
        if len(self._owners) > MAX_OWNERS:
            self._owners.popitem(last=False)
        changed: set[str] = set()
        for entry in self._entries.values():
            if any(ancestor.ref.uid == found.uid for ancestor in self._lineage(entry.pod)):
                changed.update(entry.ids)
        return frozenset(changed)

    def _lineage(self, pod: PodRecord) -> tuple[Ancestor, ...]:
        ancestors: list[Ancestor] = []
        queue = list(pod.owners)
        met: set[str] = set()
        while queue and len(ancestors) < MAX_LINEAGE:
            ref = queue.pop(0)
            if ref.uid in met:
                continue
            met.add(ref.uid)
            found = self._owners.get(ref.uid)
            if found is None:
                ancestors.append(Ancestor(ref, asked=False))
            else:
                ancestors.append(Ancestor(ref, asked=True, fault=found.fault))
                # Only what controls counts further up, as in SkyWalking Rover.
                queue += found.owners if ref.controls else ()
        return tuple(ancestors)
