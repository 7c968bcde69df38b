"""All that is known of processes, from /proc to the server's answer, in the order of their way."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from rover.clock import NANOSECONDS, NS_PER_TICK, boot_clock_ns
from rover.errors import RoverError
from rover.explain.entities import explain
from rover.explain.question import pids_of
from rover.explain.remedy import remedy
from rover.guard import Defect, Guard
from rover.k8s.cgroup import containers_of
from rover.model import Reason
from rover.naming.trail import Trail

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rover.discovery.census import Census
    from rover.explain.question import Question
    from rover.model import EntityKey, Process
    from rover.naming.judge import Judge
    from rover.naming.trail import Step
    from rover.reporter.state import EntityState
    from rover.table import Why

MOST: Final = 64
"""Processes of one question that are told in full."""
UNJUDGED: Final = frozenset({Reason.KERNEL_THREAD, Reason.SELF, Reason.DEFECT})
"""No judge was asked, or one failed: it would fail again."""


class Explainer:
    """Tells the stories; its census's thread alone may ask it."""

    def __init__(
        self,
        judge: Judge,
        standing: Callable[[EntityKey], EntityState | None],
        origins: Mapping[str, object],
        guard: Guard | None = None,
    ) -> None:
        """Hold whom to ask.

        Args:
            judge: names processes.
            standing: how an entity fares at the backend; None where it was never published.
            origins: where each key of the configuration was set.
            guard: keeps the rest of a story where one part of it fails.
        """
        self._judge = judge
        self._standing = standing
        self._origins = origins
        self._guard = guard or Guard()

    def answer(self, question: Question, census: Census) -> dict[str, Any]:
        """Tell of all processes that a question is about, JSON-ready; or the ``error`` in it."""
        try:
            pids = pids_of(question, census, self._judge)
        except RoverError as error:
            return {"asked": str(question), "error": str(error)}
        if not pids:
            return {"asked": str(question), "error": f"the agent knows no process of {question}"}
        whys = [why for pid in pids[:MOST] if (why := census.why(pid))]
        return {
            "asked": str(question),
            "processes": [self._story(why) for why in whys],
            "more": len(pids) - len(whys),
            "now": time.time(),
        }

    def _story(self, why: Why) -> dict[str, Any]:
        process, trail = why.process, Trail()
        fault = ""
        if why.reason not in UNJUDGED:
            about = f"pid={process.pid}"
            traced = self._guard.one("trace", about, self._judge.trace, process, trail)
            fault = traced.what if isinstance(traced, Defect) else ""
        mend = remedy(why, trail)
        return explain(why, self._standing) | {
            "started": _started(process),
            "namespace_pid": process.namespace_pid,
            "late": process.late,
            "container": _container(process, trail),
            "steps": [self._step(step) for step in trail.steps],
            "trace_fault": fault,
            "remedy": mend and {"text": mend.text, "key": mend.key, "where": self._where(mend.key)},
        }

    def _step(self, step: Step) -> dict[str, Any]:
        told = asdict(step) | {"where": self._where(step.key)}
        for test in told["tests"]:
            test["facts"] = dict(test["facts"])
        if step.entity is not None:
            entity = step.entity
            told["entity"] = {
                "layer": entity.layer,
                "service": entity.service,
                "instance": entity.instance,
                "process": entity.process,
            }
        return told

    def _where(self, key: str) -> str:
        """Tell where a key, or the first below it, was set."""
        if not key:
            return ""
        found = self._origins.get(key)
        if found is None:
            begins = (f"{key}.", f"{key}[")
            keys = (each for each in self._origins if each.startswith(begins))
            found = self._origins.get(next(keys, ""), "default")
        return str(found)


def _started(process: Process) -> float:
    """Return when it started, in seconds since the epoch."""
    age = boot_clock_ns() - process.key.start_ticks * NS_PER_TICK
    return time.time() - age / NANOSECONDS


def _container(process: Process, trail: Trail) -> dict[str, Any] | None:
    refs = containers_of(process.cgroup)
    ref = trail.container or (refs[0] if refs else None)
    if ref is None:
        return None
    told: dict[str, Any] = {"id": ref.id, "runtime": ref.runtime, "pod_uid": ref.pod_uid}
    found = trail.found
    if found is not None:
        told |= {
            "name": found.container.name,
            "namespace": found.pod.namespace,
            "pod": found.pod.name,
            "pod_ip": found.pod.pod_ip,
            "service": found.service,
            "owners": [f"{each.ref.kind}/{each.ref.name}" for each in found.lineage],
        }
    return told
