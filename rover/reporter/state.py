"""What the reporter tells of itself, for status pages and for ``why``; frozen, from any thread."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rover.model import EntityKey
    from rover.reporter.roster import Entry


class Phase(Enum):
    """Where the session with the backend stands; the value is the word for logs and metrics."""

    CONNECTING = "connecting"
    """Looking for a backend that answers."""
    ANNOUNCING = "announcing"
    """Telling the backend all that runs here."""
    BEATING = "beating"
    """The backend knows everything; beats and news go out."""
    BACKING_OFF = "backing-off"
    """A call failed; waiting before the next attempt."""
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class SessionState:
    """The session at one moment; times are seconds since the epoch, 0 for never."""

    phase: Phase = Phase.STOPPED
    reason: str = "not started"
    """Why it is in this phase."""
    since: float = 0.0
    backend: str = ""
    """Address of the backend it speaks to, or tries to."""
    last_error: str = ""
    """The last failure, also long after; empty where there was none."""
    last_error_at: float = 0.0
    last_beat_at: float = 0.0
    entities: int = 0
    waiting: int = 0
    """Entities whose report is due."""
    refused: int = 0
    """Entities set aside."""


class Standing(Enum):
    """How one entity fares at the backend; the value is the sentence a user reads."""

    WAITING = "is not reported yet"
    REPORTED = "is reported and kept alive"
    UNANSWERED = "is reported, but the backend gave no id for it"
    REFUSED = "is set aside: the backend refuses it"


@dataclass(frozen=True, slots=True)
class EntityState:
    """One entity at the backend."""

    standing: Standing
    process_id: str = ""
    """The backend's id, also from before an outage."""
    detail: str = ""
    """Why it is refused."""
    answered_at: float = 0.0
    """When the backend answered a report of it last, seconds since the epoch; 0 for never."""
    beaten_at: float = 0.0
    """When the backend accepted a beat for it last."""


@dataclass(frozen=True, slots=True)
class ReporterState:
    """The session and every entity it knows of."""

    session: SessionState = SessionState()
    entities: Mapping[EntityKey, EntityState] = field(default_factory=dict)


def standing(entry: Entry) -> EntityState:
    """Tell how one entity fares."""
    times = _epoch(entry.answered_at), _epoch(entry.beaten_at)
    if refusal := entry.refusal:
        return EntityState(Standing.REFUSED, entry.process_id, refusal.reason, *times)
    if not entry.known:
        how = Standing.UNANSWERED if entry.unanswered else Standing.WAITING
    elif entry.unanswered:
        how = Standing.UNANSWERED
    else:
        how = Standing.REPORTED if entry.beaten else Standing.WAITING
    return EntityState(how, entry.process_id, "", *times)


def _epoch(monotonic: float) -> float:
    return time.time() - (time.monotonic() - monotonic) if monotonic else 0.0
