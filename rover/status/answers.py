"""What a running agent answers about itself: is it well, and why is a process shown so or not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from rover.explain import explain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rover.discovery.loop import Discovery
    from rover.foreign.reads import ForeignReads
    from rover.k8s.cluster import Cluster
    from rover.reporter import Reporter

LATE: Final = 60.0
"""Seconds beyond its own period after which a discovery thread that did nothing counts as stuck,
and for which the reporter may fail by one defect after the other."""


class AgentAnswers:
    """The answers of one agent, for its status server."""

    def __init__(
        self,
        discovery: Discovery,
        reporter: Reporter,
        cluster: Cluster | None,
        reads: ForeignReads,
        ebpf: str,
    ) -> None:
        """Ask these parts.

        Args:
            discovery: has the table.
            reporter: has the session.
            cluster: has the watches; None without Kubernetes.
            reads: reads what other processes may hold up.
            ebpf: "attached", or why there is none.
        """
        self._discovery = discovery
        self._reporter = reporter
        self._cluster = cluster
        self._reads = reads
        self._ebpf = ebpf

    def health(self) -> tuple[bool, Mapping[str, Any]]:
        """Tell whether both threads do their work; a backend that is away is no illness.

        Neither is a read that another process holds up: discovery and beats go on, and a restart
        would meet the same process again.
        """
        idle = time.monotonic() - self._discovery.looked_at
        discovering = self._discovery.is_alive and idle < self._discovery.period + LATE
        ended = "" if self._reporter.is_alive else "has ended"
        defect = self._reporter.defect
        if defect and time.monotonic() - defect.since > LATE:
            ended = ended or f"fails time and again by a defect: {defect.what}"
        return discovering and not ended, {
            "discovery": "works" if discovering else f"has done nothing for {idle:.0f} s",
            "reporter": ended or "works",
            "foreign_reads": self._reads.state(),
        }

    def readiness(self) -> tuple[bool, Mapping[str, Any]]:
        """Tell whether the first scan is handed over and, in a cluster, pods and services listed.

        With that comes what else an operator wants to see.
        """
        scanned = self._discovery.wait_scanned(0)
        session = self._reporter.session
        watches = self._cluster.states() if self._cluster else ()
        return scanned and all(watch.listed for watch in watches), {
            "first_scan": "done" if scanned else "under way",
            "ebpf": self._ebpf,
            "kubernetes": {
                watch.resource: watch.fault or ("listed" if watch.listed else "not listed yet")
                for watch in watches
            },
            "backend": session.backend,
            "session": session.phase.value,
            "session_reason": session.reason,
            "last_error": session.last_error,
            "entities": session.entities,
            "waiting": session.waiting,
            "set_aside": session.refused,
        }

    def why(self, pid: int) -> Mapping[str, Any] | None:
        """Explain one process; None where no live process has this pid.

        Raises:
            RoverError: the discovery thread does not answer.
        """
        found = self._discovery.inspect(lambda census: census.why(pid))
        return None if found is None else explain(found, self._reporter.entity)
