"""Judges processes of a node: those in pods by the analyzers, the others by the host finders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rover.guard import Defect, Guard
from rover.k8s.cgroup import containers_of
from rover.model import Reason, Verdict
from rover.naming.host.judge import SensorNews
from rover.naming.trail import HOST_PROCESSES, Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rover.model import Process, ProcessKey
    from rover.naming.host.judge import HostJudge
    from rover.naming.judge import PodProcesses
    from rover.naming.pods.join import PodJoin
    from rover.naming.trail import Trail

_OUTSIDE = Verdict(
    reason=Reason.NOT_IN_POD,
    detail="process_discovery.kubernetes.host_processes would have it reported",
)


class ClusterJudge:
    """A `rover.naming.judge.Judge` for nodes of a Kubernetes cluster."""

    def __init__(self, join: PodJoin, host: HostJudge | None, guard: Guard | None = None) -> None:
        """Put the two together.

        Args:
            join: decides on what runs in a container.
            host: decides on everything else; None leaves it out.
            guard: keeps the one going where the other fails.
        """
        self._guard = guard or Guard()
        self._join = join
        self._host = host

    def judge(self, process: Process) -> Verdict:
        """Decide what a process is called by what is known of its pod now."""
        verdict = self._join.judge(process)
        if verdict is None:
            return self._host.judge(process) if self._host else _OUTSIDE
        if self._host and verdict.reason is Reason.POD_UNKNOWN and _is_no_pods(process):
            # a container of the node's own, as a plain `docker run` makes them
            return self._host.judge(process)
        if self._host:
            self._host.forget(process.key)  # it may have been the host's before it was moved
        return verdict

    def trace(self, process: Process, trail: Trail) -> None:
        """Write down the way of a process: to its pod and the analyzers, or to the finders."""
        in_container = self._join.trace(process, trail)
        if in_container and (trail.found or not (self._host and _is_no_pods(process))):
            return
        if self._host:
            self._host.trace(process, trail)
        else:
            trail.add(Step("processes outside pods", "are left out", HOST_PROCESSES, decides=True))

    def pod(self, namespace: str, name: str) -> PodProcesses | None:
        """Tell what the processes of a pod are known by; None where no such pod is known."""
        return self._join.pod(namespace, name)

    def forget(self, key: ProcessKey) -> None:
        """Drop a process that has ended."""
        try:
            self._join.forget(key)
        finally:
            if self._host:
                self._host.forget(key)

    def apply(self, message: object) -> Iterable[ProcessKey]:
        """Take in news of the cluster or of agents' files; return the processes to judge again."""
        if isinstance(message, SensorNews):
            return self._host.apply(message) if self._host else ()
        return self._join.apply(message)

    def refresh(self, now: float) -> Iterable[ProcessKey]:
        """Look again at what no pod has shown, and at the agents' files; as `Judge` says."""
        keys: set[ProcessKey] = set()
        for judge in (self._join, self._host):
            if judge and now >= judge.next_refresh(now):
                looked = self._guard.whole(f"refresh {type(judge).__name__}", judge.refresh, now)
                keys.update(() if isinstance(looked, Defect) else looked)
        return keys

    def next_refresh(self, now: float) -> float:
        """Return the time.monotonic() of the next look of either."""
        soonest = self._join.next_refresh(now)
        return min(soonest, self._host.next_refresh(now)) if self._host else soonest

    def figures(self) -> Mapping[str, Mapping[str, int]]:
        """Return what the join and the host's sensor count."""
        return {"pod_join": self._join.figures, **(self._host.figures() if self._host else {})}


def _is_no_pods(process: Process) -> bool:
    """Tell whether no container in the cgroup's path names a pod."""
    return not any(ref.pod_uid for ref in containers_of(process.cgroup))
