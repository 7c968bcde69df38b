"""Continuous profiling: policies are held, and what passes a threshold is profiled."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final, Protocol

from rover import metrics
from rover._proto.service import QUERY_POLICIES, REPORT_PROFILING_TASK
from rover.errors import BackendError, RoverError
from rover.profiling import continuous_messages as messages
from rover.profiling import usage
from rover.profiling.tasks import Task, TaskKey
from rover.profiling.watching import Watch

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from rover.config.settings import ContinuousSettings
    from rover.profiling.sending import Backend
    from rover.profiling.watching import Trigger, Watched

log = logging.getLogger("rover.profiling")

RETRY: Final = 60.0
"""Seconds until a trigger that the backend did not take is reported again at the earliest."""
UNANSWERED_TOLD: Final = 2
"""Questions in a row without an answer that are worth a word."""


class Directory(Protocol):
    """Who is reported; each may raise RoverError."""

    def services(self) -> Collection[str]:
        """Name the services of all entities."""

    def entities(self, services: Collection[str]) -> Sequence[Watched]:
        """Give the entities of some services that the backend knows, with their live processes."""


class Continuous:
    """Asks for policies, watches what they speak of, and makes tasks of what passes a threshold.

    Args:
        settings: ``profiling.continuous``.
        query_interval: Seconds between two questions for policies.
        backend: Has the policies.
        directory: Knows who is reported.
    """

    def __init__(
        self,
        settings: ContinuousSettings,
        query_interval: float,
        backend: Backend,
        directory: Directory,
    ) -> None:
        self._settings = settings
        self._query_interval = query_interval
        self._backend = backend
        self._directory = directory
        self._watch = Watch(usage.usage, usage.system_load, settings.trigger.silence_duration)
        self._next_query = self._next_fetch = self._next_check = 0.0
        self._unanswered = 0

    def next_due(self) -> float:
        """Return the time.monotonic() at which there is something to do."""
        if not self._watch:
            return self._next_query
        return min(self._next_query, self._next_fetch, self._next_check)

    def turn(self, now: float) -> list[Task]:
        """Do what is due; return the tasks that are to begin now.

        Args:
            now: time.monotonic().
        """
        if now >= self._next_query:
            self._next_query = now + self._query_interval
            if self._ask():
                self._next_fetch = self._next_check = now
        if not self._watch:
            return []
        check = now >= self._next_check
        if check:
            self._next_check = now + self._settings.check_interval
            self._look()
        if now >= self._next_fetch:
            self._next_fetch = now + self._settings.fetch_interval
            self._watch.fetch(now)
        due = self._watch.due(now) if check else []
        return [task for trigger in due if (task := self._report(trigger, now))]

    def _ask(self) -> bool:
        """Ask for the policies that changed; tell whether any did."""
        try:
            services = self._directory.services()
            known = self._watch.known(services)
            if not known:
                return False
            question = messages.query(known)
            # figures are due every second
            answer = self._backend.call_aside(QUERY_POLICIES, [question], hurried=True)
            policies = messages.policies(answer)
        except (RoverError, ValueError) as error:
            self._unanswered += 1
            if self._unanswered == UNANSWERED_TOLD:
                log.info("continuous profiling: no policies can be had: %s", error)
            return False
        self._unanswered = 0
        self._watch.learn(policies)
        for policy in policies:
            log.info(
                "continuous profiling: service=%r rules=%d", policy.service[:80], len(policy.rules)
            )
            for what in policy.refused:
                metrics.CONTINUOUS.labels("refused").inc()
                log.warning(
                    "continuous profiling: a rule of service %r is not held: %s",
                    policy.service[:80],
                    what,
                )
        return bool(policies)

    def _look(self) -> None:
        """Find the entities that policies speak of."""
        try:
            left_out = self._watch.watch(self._directory.entities(self._watch.services()))
        except RoverError as error:
            log.debug("continuous profiling: who is to be watched is not known: %s", error)
            return
        metrics.CONTINUOUS_LEFT_OUT.set(left_out)

    def _report(self, trigger: Trigger, now: float) -> Task | None:
        """Tell the backend of a trigger; return the task that it makes of it."""
        seconds = self._settings.trigger.execute_duration
        try:
            question = messages.report(trigger, round(seconds))
            answer = self._backend.call_aside(REPORT_PROFILING_TASK, [question], hurried=True)
            task_id = messages.task_id(answer)
        except (BackendError, ValueError) as error:
            self._watch.silence(trigger, now, RETRY)
            metrics.CONTINUOUS.labels("failed").inc()
            log.warning("continuous profiling: the backend does not take a trigger: %s", error)
            return None
        self._watch.silence(trigger, now)
        metrics.CONTINUOUS.labels("triggered").inc()
        log.info(
            "continuous profiling: triggered process=%s target=%s causes=%s",
            trigger.watched.process_id[:64],
            trigger.target.value,
            ",".join(f"{each.monitor.name}:{each.current:g}" for each in trigger.causes),
        )
        key = TaskKey(task_id, trigger.watched.process_id)
        return Task(key, trigger.target, time.time(), seconds)
