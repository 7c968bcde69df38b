"""The reporter as others see it: changes go in, a state comes out; one thread does the rest."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from rover import metrics
from rover.guard import Defect, Guard
from rover.reporter.channel import GrpcDialer
from rover.reporter.outbox import Outbox
from rover.reporter.pacing import Pacing
from rover.reporter.roster import Roster, supports_none
from rover.reporter.session import Rest, Session
from rover.reporter.state import ReporterState, SessionState, standing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from rover.config.settings import BackendSettings, DiscoverySettings
    from rover.model import Changes, Entity, EntityKey
    from rover.reporter.roster import Supports
    from rover.reporter.state import EntityState

log = logging.getLogger("rover.reporter")

PAUSE_AFTER_DEFECT: Final = 5.0
"""Seconds after an error that nobody foresaw."""
HURRIED_S: Final = 2.0
"""Seconds for a call that other things wait for."""
CLOSING: Final = 0.5
"""Seconds of a stop that are kept for ending a call that does not return."""


class Reporter:
    """Keeps the backend's view of this host equal to what is published.

    Args:
        backend: ``core.backend``.
        discovery: ``process_discovery``, for the two periods.
        agent_id: The same at each start; the backend hands out tasks by it.
        host_ip: What to tell as the host's address; empty to take that of the interface which
            leads to the backend.
        guard: Runs each step, so that a defect does not end the beats of all entities.
        supports: Tells of each process whether it can be profiled, or raises RoverError; called by
            the reporter's thread.

    Raises:
        BackendError: The address, a certificate or the token cannot be used.

    """

    def __init__(
        self,
        backend: BackendSettings,
        discovery: DiscoverySettings,
        agent_id: str,
        host_ip: str = "",
        guard: Guard | None = None,
        *,
        supports: Supports = supports_none,
    ) -> None:
        pacing = Pacing(
            discovery.heartbeat_period,
            discovery.properties_report_period,
            backend.check_period,
            backend.timeout,
        )
        dialer = GrpcDialer(backend, discovery.heartbeat_period, host_ip)
        roster = Roster(supports)
        self._guard = guard or Guard()
        self._outbox = Outbox(roster, self._guard)
        self._session = Session(roster, dialer, agent_id, pacing, guard=self._guard)
        self._timeout = backend.timeout
        self._stop_by: float | None = None
        self._thread = threading.Thread(target=self._run, name="rover-reporter", daemon=True)

    def start(self) -> None:
        """Begin to connect and to report what is published."""
        self._thread.start()

    def publish(self, changes: Changes) -> None:
        """Take over changes of the table; from any thread, never waits for the backend."""
        self._outbox.put(changes)

    def complete(self) -> None:
        """Take note that all that ran at the start has been published; from any thread."""
        self._session.complete = True
        self._outbox.nudge()

    def call_aside(self, path: str, messages: Iterable[bytes], *, hurried: bool = False) -> bytes:
        """Make a call over the session's connection: a stream of messages, or one.

        For threads other than the reporter's own. Nothing is tried again, and there must be a
        connection.

        Args:
            path: Of the method.
            messages: What it is sent.
            hurried: Whether other things wait for it: then it is given up early.

        Raises:
            BackendError: There is none, or no usable answer in time.
        """
        timeout = min(self._timeout, HURRIED_S) if hurried else self._timeout
        return self._session.connection.call_aside(path, messages, timeout)

    def cancel_aside(self, paths: Collection[str]) -> None:
        """Make each `call_aside` under way to these methods fail; from any thread."""
        self._session.connection.cancel_aside(paths)

    def entities_of(self, process_ids: Iterable[str]) -> dict[str, EntityKey]:
        """Find the live entities that the backend gave these ids; costs a walk over all of them."""
        return self._outbox.entities_of(process_ids)

    def services(self) -> set[str]:
        """Name the services of all entities; costs a walk over them."""
        return {entry.report.entity.service for entry in self._outbox.entries()}

    def entities_in(self, services: Collection[str]) -> dict[str, Entity]:
        """Give the entities of some services by the ids that the backend gave them."""
        return {
            entry.process_id: entry.report.entity
            for entry in self._outbox.entries()
            if entry.kept_id and entry.report.entity.service in services
        }

    def stop(self, timeout: float = 4.0) -> bool:
        """Report what is new once more, then end; tell whether that went within the time."""
        if not self._thread.is_alive():
            return True
        self._stop_by = time.monotonic() + timeout
        self._outbox.nudge()
        self._thread.join(max(0.0, timeout - CLOSING))
        if self._thread.is_alive():
            self._session.abort()
            self._thread.join(min(CLOSING, timeout))
        ended = not self._thread.is_alive()
        if not ended:
            log.warning(
                "last report not delivered: the session, %s, did not end within %g s",
                self.session.phase.value,
                timeout,
            )
        return ended

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    @property
    def session(self) -> SessionState:
        """How the session fares; costs nothing."""
        return self._session.state

    @property
    def state(self) -> ReporterState:
        """The session and how each entity fares; costs a walk over all entities."""
        entities = {entry.key: standing(entry) for entry in self._outbox.entries()}
        return ReporterState(self._session.state, entities)

    def entity(self, key: EntityKey) -> EntityState | None:
        """Tell how one entity fares at the backend; None where it was never published."""
        entry = self._outbox.entry(key)
        return None if entry is None else standing(entry)

    def _run(self) -> None:
        while self._stop_by is None:
            self._guard.whole("outbox", self._outbox.empty_into_roster)
            rest = self._guard.whole("session", self._session.step)
            if isinstance(rest, Defect):
                rest = Rest(PAUSE_AFTER_DEFECT, for_changes=False)
            metrics.OUTBOX.set(len(self._outbox))
            self._outbox.wait(rest.seconds, for_changes=rest.for_changes)
        self._guard.whole("outbox", self._outbox.empty_into_roster)
        seconds = self._stop_by - time.monotonic() - CLOSING
        self._guard.whole("session", self._session.finish, seconds)
