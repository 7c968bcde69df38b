"""What a running agent answers about itself: is it well, and why is a process shown so or not."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from rover.explain import explain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rover.discovery.census import Census
    from rover.discovery.loop import Discovery
    from rover.foreign.reads import ForeignReads
    from rover.guard import Guard
    from rover.k8s.cluster import Cluster
    from rover.reporter import Reporter
    from rover.table import Why

LATE: Final = 10.0
"""Seconds after the time that it had set itself at which a discovery thread counts as stuck. The
longest turn measured, a first scan of 10,000 processes, takes a few."""
FAILING: Final = 60.0
"""Seconds for which a step of a thread may fail by one defect after the other."""
PORTION: Final = 256
"""Processes that the discovery thread tells of at once."""
ATTACHED: Final = "attached"
"""Begins the word on eBPF where programs are; the way follows, then why not the better one."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether all is well, and what it is judged by."""

    fine: bool
    brief: Mapping[str, Any]
    """What anyone may know who reaches the port: states, in words of our own. No address, no name
    and no message that came from elsewhere."""
    detail: Mapping[str, Any]
    """All of it, for who may see what the agent sees."""


class AgentAnswers:
    """The answers of one agent; all but `why` come at once, whatever hangs."""

    def __init__(
        self,
        discovery: Discovery,
        reporter: Reporter,
        cluster: Cluster | None,
        *,
        reads: ForeignReads,
        ebpf: str,
        guard: Guard,
    ) -> None:
        """Ask these parts.

        Args:
            discovery: has the table.
            reporter: has the session.
            cluster: has the watches; None without Kubernetes.
            reads: reads what other processes may hold up.
            ebpf: how programs are attached and why not better, or why they are not.
            guard: knows which steps of the threads fail.
        """
        self._discovery = discovery
        self._reporter = reporter
        self._cluster = cluster
        self._reads = reads
        self._ebpf = ebpf
        self._guard = guard

    def health(self) -> Verdict:
        """Tell whether all threads do their work; a backend that is away is no illness.

        Neither is a read that another process holds up: discovery and beats go on, and a restart
        would meet the same process again.

        Neither is a defect that some processes bring out: whoever runs them could make the agent
        end by it.
        """
        discovery = _discovery_state(self._discovery)
        reporter = WORKS if self._reporter.is_alive else "has ended"
        defects, more = self._defects()
        reads = self._reads.state()
        brief = {
            "discovery": discovery,
            "reporter": reporter,
            "defects": defects,
            "foreign_reads": WORKS if reads == WORKS else "held up",
        }
        fine = discovery == reporter == WORKS and defects == NO_DEFECTS
        return Verdict(fine, brief, brief | {"defects": defects + more, "foreign_reads": reads})

    def _defects(self) -> tuple[str, str]:
        """Return what fails, and what only the agent's own log would tell of it."""
        failing = self._guard.failing()
        if failing and time.monotonic() - failing.since > FAILING:
            defect = failing.defect
            return f"{defect.where} fails time and again", f": {defect.what}"
        return ("no process can be judged" if self._discovery.names_nothing else NO_DEFECTS), ""

    def readiness(self) -> Verdict:
        """Tell whether the first scan is handed over and, in a cluster, pods and services listed.

        With that comes what else an operator wants to see.
        """
        scanned = self._discovery.wait_scanned(0)
        session = self._reporter.session
        watches = self._cluster.states() if self._cluster else ()
        listed = {watch.resource: _listed(watch.listed) for watch in watches}
        brief = {
            "first_scan": "done" if scanned else "under way",
            "ebpf": self._ebpf.partition(";")[0] if self._ebpf.startswith(ATTACHED) else "none",
            "kubernetes": listed,
            "session": session.phase.value,
        }
        detail = brief | {
            "ebpf": self._ebpf,
            "kubernetes": listed | {each.resource: each.fault for each in watches if each.fault},
            "backend": session.backend,
            "session_reason": session.reason,
            "last_error": session.last_error,
            "entities": session.entities,
            "waiting": session.waiting,
            "set_aside": session.refused,
        }
        return Verdict(scanned and all(watch.listed for watch in watches), brief, detail)

    def why(self, pid: int) -> Mapping[str, Any] | None:
        """Explain one process; None where no live process has this pid.

        Raises:
            RoverError: the discovery thread does not answer.
        """
        found = self._discovery.inspect(lambda census: census.why(pid), about=f"pid={pid}")
        return None if found is None else explain(found, self._reporter.entity)

    def processes(self) -> list[dict[str, Any]]:
        """Explain every process, in portions, so that discovery goes on between them.

        Raises:
            RoverError: the discovery thread does not answer.
        """
        pids = self._discovery.inspect(_all_pids, about="processes")
        told = []
        for at in range(0, len(pids), PORTION):
            some = pids[at : at + PORTION]
            told += self._discovery.inspect(partial(_whys, pids=some), about="processes")
        return [explain(why, self._reporter.entity) for why in told]


def _all_pids(census: Census) -> list[int]:
    return sorted(census.table.pids() | census.kernel_threads.keys())


def _whys(census: Census, pids: list[int]) -> list[Why]:
    return [why for pid in pids if (why := census.why(pid))]


WORKS: Final = "works"
NO_DEFECTS: Final = "none that lasts"


def _discovery_state(discovery: Discovery) -> str:
    if not discovery.is_alive:
        return "has ended"
    late = time.monotonic() - discovery.expected_at
    return WORKS if late < LATE else f"is stuck: nothing has been done for {late:.0f} s"


def _listed(listed: bool) -> str:  # noqa: FBT001 - the field's own
    return "listed" if listed else "not listed yet"
