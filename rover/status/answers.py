"""What a running agent answers about itself: is it well, and why is a process shown so or not."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from rover.discovery.feed import Heard
from rover.discovery.summary import summary_of
from rover.errors import RoverError
from rover.explain.entities import explain, listed
from rover.status.overview import NO_WAY, About, Parts, overview
from rover.status.own_cost import cost_of
from rover.status.verdict import NO_DEFECTS, WORKS, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rover.discovery.census import Census
    from rover.discovery.feed import Feed
    from rover.discovery.loop import Discovery
    from rover.explain.question import Question
    from rover.explain.story import Explainer
    from rover.foreign.reads import ForeignReads
    from rover.guard import Guard
    from rover.k8s.cluster import Cluster
    from rover.reporter.reporter import Reporter
    from rover.table import Why

LATE: Final = 10.0
"""Seconds after the time that it had set itself at which a discovery thread counts as stuck. The
longest turn measured, a first scan of 10,000 processes, takes a few."""
FAILING: Final = 60.0
"""Seconds for which a step of a thread may fail by one defect after the other."""
SPELL: Final = 0.01
"""Seconds for which the discovery thread tells of processes before it does its own work again: its
turns are 25 ms apart, so portions of a few hundred would have 10,000 take a second."""
SUMMARY_WITHIN: Final = 1.0
"""Seconds that the discovery thread has for the counts of an overview."""
ATTACHED: Final = "attached"
"""Begins the word on eBPF where programs are; the way follows, then why not the better one."""


class AgentAnswers:
    """The answers of one agent; all but `why` come at once, whatever hangs."""

    def __init__(
        self,
        discovery: Discovery,
        reporter: Reporter,
        cluster: Cluster | None,
        *,
        reads: ForeignReads,
        about: About,
        guard: Guard,
        explainer: Explainer | None = None,
        feed: Feed | None = None,
    ) -> None:
        """Ask these parts.

        Args:
            discovery: has the table.
            reporter: has the session.
            cluster: has the watches; None without Kubernetes.
            reads: reads what other processes may hold up.
            about: what does not change.
            guard: knows which steps of the threads fail.
            explainer: tells processes' stories.
            feed: has what happens.
        """
        self._discovery = discovery
        self._reporter = reporter
        self._cluster = cluster
        self._reads = reads
        self._about = about
        self._guard = guard
        self._explainer = explainer
        self._feed = feed

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
        session, ebpf = self._reporter.session, self._about.ebpf
        watches = self._cluster.states() if self._cluster else ()
        listed = {watch.resource: _listed(watch.listed) for watch in watches}
        brief = {
            "first_scan": "done" if scanned else "under way",
            "ebpf": ebpf.partition(";")[0] if ebpf.startswith(ATTACHED) else NO_WAY,
            "kubernetes": listed,
            "session": session.phase.value,
        }
        detail = brief | {
            "ebpf": ebpf,
            "kubernetes": listed | {each.resource: each.fault for each in watches if each.fault},
            "backend": session.backend,
            "session_reason": session.reason,
            "last_error": session.last_error,
            "entities": session.entities,
            "waiting": session.waiting,
            "set_aside": session.refused,
        }
        return Verdict(scanned and all(watch.listed for watch in watches), brief, detail)

    def overview(self) -> Mapping[str, Any]:
        """Tell all that fits on one screen; within a second or two, whatever hangs."""
        try:
            summary = self._discovery.inspect(summary_of, SUMMARY_WITHIN, about="overview")
        except RoverError:
            summary = None
        parts = Parts(
            about=self._about,
            health=self.health(),
            scanned=self._discovery.wait_scanned(0),
            session=self._reporter.session,
            watches=self._cluster.states() if self._cluster else (),
            summary=summary,
            cost=cost_of(self._reads.own_pids),
            foreign_reads=self._reads.state(),
            now=time.time(),
        )
        return overview(parts)

    def why(self, pid: int) -> Mapping[str, Any] | None:
        """Explain one process; None where no live process has this pid.

        Raises:
            RoverError: the discovery thread does not answer.
        """
        found = self._discovery.inspect(lambda census: census.why(pid), about=f"pid={pid}")
        return None if found is None else explain(found, self._reporter.entity)

    def events(self, after: int | None) -> Mapping[str, Any]:
        """Tell what happened after an event, at once; begin to listen where there is none."""
        heard = self._feed.hear(after) if self._feed else Heard((), 0, 0)
        return {
            "events": [asdict(event) for event in heard.events],
            "after": heard.after,
            "lost": heard.lost,
        }

    def processes(self) -> list[dict[str, Any]]:
        """Tell of every process, in portions, so that discovery goes on between them.

        Raises:
            RoverError: the discovery thread does not answer.
        """
        left = deque(self._discovery.inspect(_all_pids, about="processes"))
        told = []
        while left:
            told += self._discovery.inspect(partial(_whys, left=left), about="processes")
        return [listed(why, self._reporter.entity) for why in told]

    def explain(self, question: Question) -> Mapping[str, Any]:
        """Tell the stories of the processes that are asked about, or the ``error`` in the question.

        Raises:
            RoverError: the discovery thread does not answer.
        """
        explainer = self._explainer
        if explainer is None:
            raise RoverError("this agent tells no stories")
        return self._discovery.inspect(
            lambda census: explainer.answer(question, census), about=str(question)
        )


def _all_pids(census: Census) -> list[int]:
    return sorted(census.table.pids() | census.kernel_threads.keys())


def _whys(census: Census, left: deque[int]) -> list[Why]:
    """Tell of the first of these, and take them away, for as long as a portion may last."""
    until, told = time.monotonic() + SPELL, []
    while left:
        if why := census.why(left.popleft()):
            told.append(why)
        if time.monotonic() > until:
            break
    return told


def _discovery_state(discovery: Discovery) -> str:
    if not discovery.is_alive:
        return "has ended"
    late = time.monotonic() - discovery.expected_at
    return WORKS if late < LATE else f"is stuck: nothing has been done for {late:.0f} s"


def _listed(listed: bool) -> str:  # noqa: FBT001 - the field's own
    return "listed" if listed else "not listed yet"
