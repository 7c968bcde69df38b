"""The reporter as others see it: changes go in, a state comes out; one thread does the rest."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from rover import metrics
from rover.reporter.channel import GrpcDialer
from rover.reporter.outbox import Outbox
from rover.reporter.pacing import Pacing
from rover.reporter.roster import Roster
from rover.reporter.session import Session
from rover.reporter.state import ReporterState, SessionState, standing

if TYPE_CHECKING:
    from rover.config.settings import BackendSettings, DiscoverySettings
    from rover.model import Changes, EntityKey
    from rover.reporter.state import EntityState

log = logging.getLogger("rover.reporter")

PAUSE_AFTER_BUG: Final = 5.0
"""Seconds after an error that nobody foresaw."""
CLOSING: Final = 0.5
"""Seconds of a stop that are kept for ending a call that does not return."""


class Defect(NamedTuple):
    """An error that nobody foresaw, which comes back."""

    what: str
    since: float
    """time.monotonic() of the first failure without a success since."""


class Reporter:
    """Keeps the backend's view of this host equal to what is published.

    Args:
        backend: ``core.backend``.
        discovery: ``process_discovery``, for the two periods.
        agent_id: The same at each start; the backend hands out tasks by it.
        host_ip: What to tell as the host's address; empty to take that of the interface which
            leads to the backend.

    Raises:
        BackendError: The address, a certificate or the token cannot be used.

    Attributes:
        defect: What the session has failed by at each attempt of late; None where it works.
    """

    def __init__(
        self,
        backend: BackendSettings,
        discovery: DiscoverySettings,
        agent_id: str,
        host_ip: str = "",
    ) -> None:
        pacing = Pacing(
            discovery.heartbeat_period,
            discovery.properties_report_period,
            backend.check_period,
            backend.timeout,
        )
        dialer = GrpcDialer(backend, discovery.heartbeat_period, host_ip)
        roster = Roster()
        self._outbox = Outbox(roster)
        self._session = Session(roster, dialer, agent_id, pacing)
        self._stop_by: float | None = None
        self.defect: Defect | None = None
        self._thread = threading.Thread(target=self._run, name="rover-reporter", daemon=True)

    def start(self) -> None:
        """Begin to connect and to report what is published."""
        self._thread.start()

    def publish(self, changes: Changes) -> None:
        """Take over changes of the table; from any thread, never waits for the backend."""
        self._outbox.put(changes)

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
            self._outbox.empty_into_roster()
            try:
                seconds, for_changes = self._session.step()
                self.defect = None
            except Exception as error:  # a bug must not end the beats of all other entities
                known, now = self.defect, time.monotonic()
                if known is None or known.what != repr(error):
                    log.exception("session step failed by a defect, trying again")
                self.defect = Defect(repr(error), known.since if known else now)
                seconds, for_changes = PAUSE_AFTER_BUG, False
            metrics.OUTBOX.set(len(self._outbox))
            self._outbox.wait(seconds, for_changes=for_changes)
        self._outbox.empty_into_roster()
        self._session.finish(self._stop_by - time.monotonic() - CLOSING)
