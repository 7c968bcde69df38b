"""The session with the backend: connecting, announcing, beating, backing off.

::

    CONNECTING ──answers──▶ ANNOUNCING ──all told──▶ BEATING ─┐ beats, news
        ▲                       │                      │  ▲───┘
        │ pause over            ▼ a call fails         ▼
        └────────────────── BACKING_OFF ◀──────────────┘

It owns the roster and the connection, runs on one thread and never sleeps: each step does what is
due and tells when the next one is.
"""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from rover import metrics
from rover.reporter.connection import Connection
from rover.reporter.exchange import Exchange
from rover.reporter.failures import CallError, FailureKind, advice
from rover.reporter.pacing import FIRST_BEATS_RATE, NEWS_BURST, NEWS_RATE, TokenBucket
from rover.reporter.state import Phase, SessionState

if TYPE_CHECKING:
    from collections.abc import Callable

    from rover.guard import Guard
    from rover.reporter.connection import Dialer
    from rover.reporter.pacing import Pacing
    from rover.reporter.roster import Roster

log = logging.getLogger("rover.reporter")

BEAT_JITTER: Final = 0.1
"""Share of the period by which a beat may come early, so that a fleet does not beat as one."""
RETURN_FIRST: Final = 60.0
"""Seconds on a later address before the first one is tried again; doubles up to RETURN_LAST."""
RETURN_LAST: Final = 600.0
SHORT_TIMEOUT: Final = 2.0
"""Deadline of asking where something better is at hand, seconds: the session waits for it."""
FILE_LOOK: Final = 1.0
"""Seconds between two looks at the credentials' files during an outage."""
MANY_LOSSES: Final = 10
"""Connections lost at rest, one after the other, that speak of a proxy and not of restarts."""
FLEET_SPREAD: Final = 0.25
"""Share of the beat period over which a fleet's full reports are spread after an outage."""
KNOWS_ALL: Final = "the backend knows all that runs here"
SCANNING: Final = "the backend answers; the first scan is under way"
FORGETFUL: Final = frozenset({FailureKind.AWAY, FailureKind.TIMEOUT, FailureKind.WRONG_SERVER})
"""After these it may be another backend that answers, or one that lost what it knew."""


class Rest(NamedTuple):
    """What the thread may do until the next step."""

    seconds: float
    for_changes: bool
    """Whether a change is worth waking up for."""


@dataclass(slots=True)
class Outage:
    """From the first failed call until the backend knows everything again."""

    since: float
    """Monotonic seconds."""
    kind: FailureKind
    hint: str = ""
    """What was said of it last."""
    attempts: int = 0
    forgotten: bool = False
    """What the backend knew does not count any more."""
    held: bool = False
    """This agent has waited for its turn in the fleet's return."""


class Session:
    """The state machine; all of it is for its one thread, except ``abort`` and ``state``.

    Args:
        roster: What the backend should know.
        dialer: Opens connections.
        agent_id: Goes into each message.
        pacing: How often and how long.
        clock: Gives monotonic seconds.
        chance: Gives numbers in [0, 1) for jitter.
        guard: Makes the message of each entity, so that a defect costs that one alone.

    Attributes:
        state: What it is doing, replaced as a whole with each change.
        complete: Whether the roster holds all that runs, as far as it is known: at the start it
            does not. Set by any thread.
    """

    def __init__(
        self,
        roster: Roster,
        dialer: Dialer,
        agent_id: str,
        pacing: Pacing,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        guard: Guard | None = None,
    ) -> None:
        self.state = SessionState(since=time.time(), backend=str(dialer.endpoints[0]))
        self.complete = False
        self._roster = roster
        self._dialer = dialer
        self._connection = Connection(dialer)
        self._pacing = pacing
        self._clock = clock
        self._chance = chance
        self._exchange = Exchange(
            roster,
            agent_id,
            self._call,
            pacing.properties_every,
            lambda tries: pacing.silence.pause(tries, chance),
            guard=guard,
        )
        self._answering = False
        """The backend has answered since the last failure."""
        self._outage: Outage | None = None
        self._resume_at = 0.0
        self._renewed = True
        """Everything is to be reported anew."""
        self._beat = 0
        self._next_beat = 0.0
        self._news = TokenBucket(NEWS_RATE, NEWS_BURST)
        self._next_news = 0.0
        """Nothing is sent before; also keeps this agent back after an outage."""
        self._first_beats = TokenBucket(FIRST_BEATS_RATE, NEWS_BURST)
        self._next_first_beats = 0.0
        """What is new does not beat before, unless all do."""
        self._return_at = 0.0
        self._return_after = RETURN_FIRST
        self._losses = 0
        """Connections in a row that ended while nothing was sent, before their second beat."""
        self._beats_on_line = 0
        self._patience = pacing.timeout
        """Deadline of the next call, seconds."""
        self._stop_at = float("inf")

    def step(self) -> Rest:
        """Do what is due, up to the first failure, and tell when the next step is."""
        try:
            rest = self._advance()
        except CallError as error:
            rest = self._back_off(error)
        self._show()
        return rest

    def finish(self, seconds: float) -> None:
        """Report once more what is new, within so many seconds, and end the connection.

        A backend that is away gets one more attempt.
        """
        self._stop_at = self._clock() + seconds
        self._next_beat, self._next_first_beats = float("inf"), 0.0
        try:
            if self._roster.due or self._roster.fresh:
                self._connect_if_needed()
                self._tell()
        except CallError as error:
            log.warning("last report not delivered: waiting=%d %s", len(self._roster.due), error)
        self._connection.close()
        self._enter(Phase.STOPPED, "asked to")
        self._show()

    @property
    def connection(self) -> Connection:
        """The one to the backend; another thread may make calls aside over it."""
        return self._connection

    def abort(self) -> None:
        """Make a call under way fail; from any thread."""
        self._connection.close()

    def _advance(self) -> Rest:
        now = self._clock()
        if self._dialer.refresh():
            self._connection.close()
            self._resume_at = now
            self._enter(Phase.CONNECTING, "credentials changed")
        if now < self._resume_at:
            return self._rest(self._resume_at, for_changes=False)
        if self._closed_idle and not self._something_due(now):
            return self._idle()
        self._connect_if_needed()
        self._return_to_first()
        if self._clock() >= self._next_news:
            self._tell()
        return self._idle()

    def _connect_if_needed(self) -> None:
        """See that there is a connection over which the backend answers."""
        if self._answering and self._connection.is_open:
            return
        level = logging.DEBUG if self._outage or self._closed_idle else logging.INFO
        self._enter(Phase.CONNECTING, self._why_connect(), level)
        if self._connection.is_open:
            self._probe_old()
        if not self._connection.is_open:
            self._connection.open()
            self._beats_on_line = 0
            if not self._closed_idle:
                self._renew()
            self._exchange.probe()
        self._connected("connected")

    def _why_connect(self) -> str:
        if self._outage or self.state.phase is Phase.CONNECTING:
            return self.state.reason
        if self.state.phase is Phase.STOPPED:
            return "starting"
        self._losses += 1
        if self._losses == MANY_LOSSES:
            log.info(
                "connection closed between beats time and again, probably by a proxy: opened when "
                "needed from now on, without a full report"
            )
        return "connection lost"

    @property
    def _closed_idle(self) -> bool:
        """Whether something on the way closes connections that rest; then that is no news."""
        return self._losses >= MANY_LOSSES

    def _probe_old(self) -> None:
        """Ask over the connection of before the failure; give it up where that takes long."""
        self._patience = min(SHORT_TIMEOUT, self._pacing.timeout)
        try:
            self._exchange.probe()
        except CallError as error:
            if error.kind is not FailureKind.TIMEOUT:
                raise
            self._connection.close()
        finally:
            self._patience = self._pacing.timeout

    def _renew(self) -> None:
        """Start from nothing with a backend that may know nothing of this agent."""
        self._roster.renew()
        self._renewed = True

    def _connected(self, reason: str) -> None:
        now = self._clock()
        self._answering = True
        level = logging.DEBUG if self._closed_idle else logging.INFO
        if (outage := self._outage) and not outage.held:
            outage.held = True
            lasted = now - outage.since
            # no longer than the outage itself: a hiccup delays nobody
            hold = self._chance() * min(lasted, self._pacing.heartbeat * FLEET_SPREAD)
            self._next_news = now + hold
            reason = f"answers again after {lasted:.1f} s, reporting in {hold:.1f} s"
        elif outage:
            level = logging.DEBUG
        self._exchange.host_ip = self._dialer.host_ip(self._connection.endpoint)
        self._return_at = now + self._return_after
        self._enter(Phase.ANNOUNCING, reason, level)

    def _return_to_first(self) -> None:
        """Ask the first address now and then, while a later one serves."""
        now = self._clock()
        if self._connection.on_first:
            self._return_after = RETURN_FIRST
        elif now >= self._return_at and self._outage is None:
            timeout = min(SHORT_TIMEOUT, self._pacing.timeout)
            if self._connection.return_to_first(*self._exchange.probe_call, timeout):
                self._renew()
                self._connected("back on the first address")
            else:
                self._return_after = min(2 * self._return_after, RETURN_LAST)
                self._return_at = now + self._return_after

    def _tell(self) -> None:
        """Send what is due: reports, first beats, and the beat of all when its time has come."""
        roster, exchange = self._roster, self._exchange
        now = self._clock()
        # after a renewal every entity has its first beat right after its report
        beating = now >= self._next_beat and not self._renewed
        full = False
        if beating:
            self._beat += 1
            full = self._beat % self._pacing.properties_every == 0
        if full:
            roster.all_due()
            exchange.host_ip = self._dialer.host_ip(self._connection.endpoint)
        if due := roster.due_at(now):
            self._next_news = self._news.take(now)
            exchange.announce(due, now, self._beat)
        if first := self._renewed or self._first_beats_due(now):
            self._next_first_beats = self._first_beats.take(now)
        if beating or first:
            exchange.beat(roster.to_beat(only_fresh=not beating), self._beat)
        if beating:
            self._try_refused(now, full=full)
            self._has_beaten(now)
        if full or self._outage:
            exchange.limits = exchange.limits.doubled()
        if self._renewed:
            self._renewed = False
            self._next_beat = now + self._pacing.heartbeat * (0.5 + 0.5 * self._chance())
        self._outage = None
        level = logging.DEBUG if self._closed_idle else logging.INFO
        self._enter(Phase.BEATING, KNOWS_ALL if self.complete else SCANNING, level)

    def _something_due(self, now: float) -> bool:
        roster = self._roster
        return now >= self._next_beat or roster.next_due() <= now or self._first_beats_due(now)

    def _first_beats_due(self, now: float) -> bool:
        return bool(self._roster.fresh) and now >= self._next_first_beats

    def _try_refused(self, now: float, *, full: bool) -> None:
        """Give entities that were set aside another chance, apart from the others."""
        if refused := self._roster.refused_at(self._beat, everyone=full):
            self._exchange.announce(refused, now, self._beat, trial=True)
            known = [entry for entry in refused if entry.known]
            self._exchange.beat(known, self._beat, trial=True)

    def _has_beaten(self, began: float) -> None:
        took = self._clock() - began
        self._beats_on_line += 1
        if self._beats_on_line > 1:
            self._losses = 0
        self._next_beat = began + self._pacing.heartbeat * (1 - BEAT_JITTER * self._chance())
        metrics.HEARTBEAT_SECONDS.observe(took)
        metrics.LAST_HEARTBEAT.set_to_current_time()
        self.state = replace(self.state, last_beat_at=time.time())
        log.debug("beat: entities=%d seconds=%.3f", len(self._roster), took)

    def _idle(self) -> Rest:
        """Tell when something is due next; news end the wait, unless they have to wait anyway."""
        now = self._clock()
        fresh = self._roster.to_beat(only_fresh=True)
        first_beats = max(now, self._next_first_beats) if fresh else float("inf")
        news = max(self._next_news, min(first_beats, self._roster.next_due()))
        look = now + self._pacing.check * (0.5 + 0.5 * self._chance())
        until = min(look, news, max(self._next_beat, self._next_news))
        gathering = now < self._next_news
        if gathering:  # what comes meanwhile does not wake the thread, so it looks after that
            until = min(until, self._next_news)
        return self._rest(until, for_changes=not gathering)

    def _rest(self, until: float, *, for_changes: bool) -> Rest:
        seconds = max(0.0, until - self._clock())
        return Rest(min(seconds, FILE_LOOK) if self._outage else seconds, for_changes)

    def _back_off(self, error: CallError) -> Rest:
        """Decide where and when to try again."""
        now = self._clock()
        outage = self._outage or Outage(now, error.kind)
        self._losses = 0
        hint = advice(error.kind, error.detail)
        told = self._outage is not None and (outage.kind, outage.hint) == (error.kind, hint)
        self._outage, self._answering = outage, False
        outage.kind, outage.hint = error.kind, hint
        if error.kind in FORGETFUL and not outage.forgotten:
            outage.forgotten = True
            self._renew()
        self._connection.close_if_doubtful()
        failed = self._connection.endpoint
        pause = 0.0
        if error.kind is FailureKind.BUSY or not self._connection.fail_over():
            pause = self._pacing.backoff(error.kind).pause(outage.attempts, self._chance)
            outage.attempts += 1
        self._resume_at = now + pause
        self._next_news = 0.0
        self.state = replace(self.state, last_error=str(error), last_error_at=time.time())
        reason = f"{failed}: {error}" + (f"; {hint}" if hint else "")
        self._enter(Phase.BACKING_OFF, reason, logging.DEBUG if told else logging.WARNING)
        return self._rest(self._resume_at, for_changes=False)

    def _call(self, path: str, message: bytes) -> bytes:
        timeout = min(self._patience, self._stop_at - self._clock())
        if timeout <= 0:
            raise CallError(FailureKind.TIMEOUT, "the agent is stopping")
        return self._connection.call(path, message, timeout)

    def _enter(self, phase: Phase, reason: str, level: int = logging.INFO) -> None:
        if (phase, reason) == (self.state.phase, self.state.reason):
            return
        backend = str(self._connection.endpoint)
        log.log(level, "session: state=%s backend=%s reason=%r", phase.value, backend, reason)
        since = self.state.since if phase is self.state.phase else time.time()
        self.state = replace(self.state, phase=phase, reason=reason, since=since, backend=backend)
        for other in Phase:
            metrics.SESSION_STATE.labels(other.value).set(other is phase)

    def _show(self) -> None:
        """Publish the counts, where they changed."""
        roster, state = self._roster, self.state
        counts = (len(roster), len(roster.due), len(roster.refused))
        if counts != (state.entities, state.waiting, state.refused):
            entities, waiting, refused = counts
            self.state = replace(state, entities=entities, waiting=waiting, refused=refused)
            metrics.WAITING.set(waiting)
            metrics.REFUSED.set(refused)
