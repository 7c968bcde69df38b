"""Bring processes and pods together, whichever of the two is seen first.

A process waits under the id of its container. Each message from the cluster names the containers
it changed, so that exactly their processes are judged again: no scan, neither of processes nor of
pods. The discovery thread owns all of this.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from rover.guard import Defect, Guard
from rover.k8s.cgroup import SHOWN, containers_of
from rover.k8s.records import (
    OwnersFound,
    PodGone,
    PodSeen,
    PodsListed,
    ServiceGone,
    ServiceSeen,
    ServicesListed,
)
from rover.model import Reason, Verdict
from rover.naming.judge import PodProcesses
from rover.naming.trail import Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from rover.k8s.cgroup import ContainerRef
    from rover.k8s.index import PodIndex
    from rover.k8s.records import OwnerRef
    from rover.model import Process, ProcessKey
    from rover.naming.pods.analyzers import Analyzers
    from rover.naming.trail import Trail

LOOKS: Final = (2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
"""Pauses, in seconds, before each look at a container that no pod has shown; then it is left.
A kubelet reports a started container within a second or two."""
MAX_LOOKED_FOR: Final = 4_096
"""Containers looked for at most; others wait for the news of their pod alone."""
EXPIRE_EVERY: Final = 10.0
"""Seconds between two looks for pods that have been gone long enough."""

_MESSAGES: Final = (
    PodSeen,
    PodGone,
    PodsListed,
    ServiceSeen,
    ServiceGone,
    ServicesListed,
    OwnersFound,
)
_PAUSE: Final = "pause"


class _State(Enum):
    """How the search for a container stands."""

    SEARCHED = "containers_searched"
    LEFT = "containers_left"
    """Looked for in vain; only news of it can still bring it up."""
    SANDBOX = "containers_sandbox"
    """Its pod shows all of its containers, and this is none of them."""
    OUTSIDE = "containers_outside"
    """Neither a pod nor its cgroup path says that it is a pod's."""


@dataclass(slots=True)
class _Search:
    ref: ContainerRef
    due: float
    """time.monotonic() of the next look."""
    is_pause: bool = False
    """Its process is called as those are that hold a pod's sandbox."""
    looks: int = 0
    state: _State = _State.SEARCHED


class PodJoin:
    """Which process is in which pod's container, now or as soon as it shows."""

    def __init__(
        self,
        index: PodIndex,
        analyzers: Analyzers,
        *,
        list_again: Callable[[], object],
        ask_owner: Callable[[str, OwnerRef], None],
        clock: Callable[[], float] = time.monotonic,
        guard: Guard | None = None,
    ) -> None:
        """Begin empty.

        Args:
            index: What is known of pods; from here on fed by `apply` alone.
            analyzers: Name the processes of known containers.
            list_again: Has the node's pods listed, when one is missing; never waits.
            ask_owner: Has an owner's own owners found out, given its namespace; never waits.
            clock: Seconds that only grow.
            guard: Looks for each container, so that a defect costs that one alone.
        """
        self._index = index
        self._analyzers = analyzers
        self._list_again = list_again
        self._ask_owner = ask_owner
        self._clock = clock
        self._guard = guard or Guard()
        self._refs: dict[ProcessKey, tuple[ContainerRef, ...]] = {}
        self._in_container: dict[str, set[ProcessKey]] = {}
        self._searches: dict[str, _Search] = {}
        self._due: list[tuple[float, str]] = []
        self._expire_at = 0.0
        self.unsearched = 0
        """Containers that were not looked for, for want of room."""

    @property
    def figures(self) -> dict[str, int]:
        """Return how many processes are in containers, and how many containers no pod shows."""
        states = Counter(search.state for search in self._searches.values())
        return {
            "container_processes": len(self._refs),
            **{state.value: states[state] for state in _State},
            "containers_unsearched": self.unsearched,
        }

    def judge(self, process: Process) -> Verdict | None:
        """Decide what a process is called, None where it runs in no container."""
        refs = containers_of(process.cgroup)
        if refs != self._refs.get(process.key):
            self.forget(process.key)
        if not refs:
            return None
        self._refs[process.key] = refs
        for ref in refs:
            self._in_container.setdefault(ref.id, set()).add(process.key)
        for ref in refs:
            found = self._index.find(ref)
            if found is not None:
                self._searches.pop(refs[0].id, None)
                judgement = self._analyzers.judge(process, found)
                for owner in judgement.wanted:
                    self._ask_owner(found.pod.namespace, owner)
                return judgement.verdict
        detail = self._search(refs[0], is_pause=process.name == _PAUSE)
        return Verdict(reason=Reason.POD_UNKNOWN, detail=detail)

    def trace(self, process: Process, trail: Trail) -> bool:
        """Write down the way of a process to its pod; tell whether it is in a container at all."""
        refs = containers_of(process.cgroup)
        for ref in refs:
            trail.container = trail.container or ref
            found = self._index.find(ref)
            if found is not None:
                trail.container, trail.found = ref, found
                self._analyzers.judge(process, found, trail)
                return True
        if refs:
            search = self._searches.get(refs[0].id) or _Search(refs[0], 0.0)
            trail.add(Step("pod of its container", self._detail(search)))
        return bool(refs)

    def pod(self, namespace: str, name: str) -> PodProcesses | None:
        """Tell what the processes of a pod are known by; None where no such pod is known."""
        named = self._index.named(namespace, name)
        if named is None:
            return None
        pod, ids = named
        return PodProcesses(frozenset({pod.uid, pod.path_uid}), ids)

    def forget(self, key: ProcessKey) -> None:
        """Drop a process that has ended."""
        for ref in self._refs.pop(key, ()):
            keys = self._in_container[ref.id]
            keys.discard(key)
            if not keys:
                del self._in_container[ref.id]
                self._searches.pop(ref.id, None)

    def apply(self, message: object) -> set[ProcessKey]:
        """Take in news of the cluster; return the processes to judge again."""
        if not isinstance(message, _MESSAGES):
            return set()
        listed = self._index.pods_listed
        changed = self._guard.one("news", type(message).__name__, self._index.apply, message)
        if isinstance(changed, Defect):
            self._list_again()
            return set()
        keys = {key for each in changed for key in self._in_container.get(each, ())}
        if not listed and self._index.pods_listed:
            # What could not be told before the first list can be told now.
            keys.update(key for each in self._searches for key in self._in_container[each])
        return keys

    def refresh(self, now: float) -> set[ProcessKey]:
        """Look again at containers that no pod shows; return their processes, to judge again.

        Args:
            now: time.monotonic().
        """
        if now >= self._expire_at:
            self._expire_at = now + EXPIRE_EVERY
            self._guard.whole("expire", self._index.expire, self._in_container.__contains__)
        keys: set[ProcessKey] = set()
        while self._due and self._due[0][0] <= now:
            due, container_id = heapq.heappop(self._due)
            search = self._searches.get(container_id)
            if search is None or search.due != due:
                continue  # found or gone since, and maybe looked for anew
            if not self._index.pods_listed:
                self._schedule(search, now)
                continue
            self._guard.one("look", f"container={container_id}", self._look, search, now)
            keys.update(self._in_container.get(container_id, ()))
        return keys

    def next_refresh(self, now: float) -> float:
        """Return the time.monotonic() at which `refresh` has something to look at."""
        del now
        return min(self._expire_at, self._due[0][0]) if self._due else self._expire_at

    def _search(self, ref: ContainerRef, *, is_pause: bool) -> str:
        """Begin to look for a container, or go on; return what there is to say of it."""
        search = self._searches.get(ref.id)
        if search is None:
            search = _Search(ref, 0.0, is_pause)
            if len(self._searches) >= MAX_LOOKED_FOR:
                self.unsearched += 1
            else:
                self._searches[ref.id] = search
                self._schedule(search, self._clock())
        return self._detail(search)

    def _schedule(self, search: _Search, now: float) -> None:
        search.due = now + LOOKS[search.looks]
        heapq.heappush(self._due, (search.due, search.ref.id))

    def _look(self, search: _Search, now: float) -> None:
        """Have the pods listed if that can help, and decide whether to look again."""
        search.looks += 1
        search.state = self._state_of(search.ref)
        if search.state is _State.SANDBOX and not search.is_pause and search.looks == 1:
            # Runtimes that keep no process for the sandbox have the next run of a container first.
            search.state = _State.SEARCHED
        if search.state is _State.SEARCHED:
            if search.looks < len(LOOKS):
                self._list_again()
                self._schedule(search, now)
            else:
                search.state = _State.LEFT

    def _state_of(self, ref: ContainerRef) -> _State:
        if not ref.pod_uid:
            return _State.OUTSIDE
        pod = self._index.pod_at(ref.pod_uid)
        if pod is None or not all(container.status_id for container in pod.containers):
            # The watch should have shown it by now, so it may have failed unseen.
            return _State.SEARCHED
        # A pod has one sandbox, which starts first; what comes later is a container's next run.
        of_pod = (each.ref for each in self._searches.values() if each.ref.pod_uid == ref.pod_uid)
        return _State.SANDBOX if next(of_pod, ref).id == ref.id else _State.SEARCHED

    def _detail(self, search: _Search) -> str:
        ref = search.ref
        what = f"container {ref.id[:SHOWN]}"
        if not self._index.pods_listed:
            return f"{what}: the node's pods have not been listed yet"
        state = self._state_of(ref)
        if state is _State.SANDBOX and not search.is_pause and search.state is _State.SEARCHED:
            state = _State.SEARCHED
        if state is _State.OUTSIDE:
            return f"{what}: no pod has it, and its cgroup names none"
        looks = f", left after {search.looks} looks" if search.state is _State.LEFT else ""
        pod = self._index.pod_at(ref.pod_uid)
        if pod is None:
            return f"{what}: no pod of the UID {ref.pod_uid} is on this node{looks}"
        where = f"{pod.namespace}/{pod.name}"
        if state is _State.SANDBOX:
            return f"{what}: the sandbox of pod {where}, none of its containers"
        return f"{what}: the status of pod {where} does not show it yet{looks}"
