"""What a running agent answers about itself: is it well, and why is a process shown so or not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from rover.explain import explain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rover.discovery.loop import Discovery
    from rover.guard import Guard
    from rover.k8s.cluster import Cluster
    from rover.reporter import Reporter

LATE: Final = 60.0
"""Seconds beyond its own period after which a discovery thread that did nothing counts as stuck,
and for which a step of a thread may fail by one defect after the other."""


class AgentAnswers:
    """The answers of one agent, for its status server."""

    def __init__(
        self,
        discovery: Discovery,
        reporter: Reporter,
        cluster: Cluster | None,
        ebpf: str,
        guard: Guard,
    ) -> None:
        """Ask these parts.

        Args:
            discovery: has the table.
            reporter: has the session.
            cluster: has the watches; None without Kubernetes.
            ebpf: how programs are attached and why not better, or why they are not.
            guard: knows which steps of the threads fail.
        """
        self._discovery = discovery
        self._reporter = reporter
        self._cluster = cluster
        self._ebpf = ebpf
        self._guard = guard

    def health(self) -> tuple[bool, Mapping[str, Any]]:
        """Tell whether all threads do their work; a backend that is away is no illness.

        Neither is a defect that some processes bring out: whoever runs them could make the agent
        end by it.
        """
        idle = time.monotonic() - self._discovery.looked_at
        discovering = self._discovery.is_alive and idle < self._discovery.period + LATE
        reporting = self._reporter.is_alive
        defects = self._defects()
        return discovering and reporting and not defects, {
            "discovery": "works" if discovering else f"has done nothing for {idle:.0f} s",
            "reporter": "works" if reporting else "has ended",
            "defects": defects or "none that lasts",
        }

    def _defects(self) -> str:
        failing = self._guard.failing()
        if failing and time.monotonic() - failing.since > LATE:
            defect = failing.defect
            return f"{defect.where} fails time and again: {defect.what}"
        return "no process can be judged" if self._discovery.names_nothing else ""

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
        found = self._discovery.inspect(lambda census: census.why(pid), about=f"pid={pid}")
        return None if found is None else explain(found, self._reporter.entity)
