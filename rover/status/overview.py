"""A running agent on one screen: what it is, how it fares, what is lost and what it costs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from rover.reporter.state import Phase
from rover.status.verdict import NO_DEFECTS, WORKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rover.discovery.summary import Summary
    from rover.k8s.watch import WatchState
    from rover.reporter.state import SessionState
    from rover.status.own_cost import Cost
    from rover.status.verdict import Verdict


class State(StrEnum):
    """How an agent fares."""

    WELL = "well"
    DEGRADED = "degraded"
    """It works; something that it should have or reach is missing."""
    ILL = "ill"
    """A part of it does nothing: a restart is called for."""


@dataclass(frozen=True, slots=True)
class About:
    """What does not change while an agent runs."""

    agent_id: str
    version: str
    pid: int
    started: float
    """Seconds since the epoch."""
    way: str
    """How the kernel's events come in: raw tracepoints, tracepoints, none."""
    ebpf: str
    """The same in full: why not better, or why not at all."""
    kubernetes: bool
    node: str = ""


@dataclass(frozen=True, slots=True)
class Parts:
    """What an overview is made of, gathered at one moment."""

    about: About
    health: Verdict
    scanned: bool
    session: SessionState
    watches: Sequence[WatchState]
    summary: Summary | None
    """None where the discovery thread does not answer."""
    cost: Cost
    foreign_reads: str
    now: float
    """Seconds since the epoch."""


NO_WAY: Final = "none"
"""Beside the ways of attaching programs."""
CONNECTED: Final = frozenset({Phase.ANNOUNCING, Phase.BEATING})


def overview(parts: Parts) -> dict[str, Any]:
    """Tell all of it, JSON-ready; times are seconds since the epoch, 0 for never."""
    state, because = judged(parts)
    about, session = parts.about, parts.session
    told = {} if parts.summary is None else asdict(parts.summary)
    return {
        "state": state.value,
        "because": because,
        "agent": {
            "id": about.agent_id,
            "version": about.version,
            "pid": about.pid,
            "started": about.started,
            "uptime": parts.now - about.started,
        },
        "health": dict(parts.health.detail),
        "first_scan": "done" if parts.scanned else "under way",
        "ebpf": {"way": about.way, "detail": about.ebpf},
        "session": {
            "state": session.phase.value,
            "reason": session.reason,
            "since": session.since,
            "backend": session.backend,
            "last_error": session.last_error,
            "last_error_at": session.last_error_at,
            "last_beat_at": session.last_beat_at,
            "entities": session.entities,
            "waiting": session.waiting,
            "set_aside": session.refused,
        },
        "kubernetes": {
            "active": about.kubernetes,
            "node": about.node,
            "watches": [
                {"resource": each.resource, "listed": each.listed, "fault": each.fault}
                for each in parts.watches
            ],
        },
        "discovery": told,
        "foreign_reads": parts.foreign_reads,
        "cost": asdict(parts.cost),
        "now": parts.now,
    }


def judged(parts: Parts) -> tuple[State, list[str]]:
    """Decide how an agent fares, and say why where it is not well."""
    if not parts.health.fine:
        return State.ILL, list(_ills(parts))
    lacks = list(_lacks(parts))
    return (State.DEGRADED if lacks else State.WELL), lacks


def _ills(parts: Parts) -> Iterator[str]:
    health = parts.health.detail
    for part in ("discovery", "reporter"):
        if health[part] != WORKS:
            yield f"{part} {health[part]}"
    if health["defects"] != NO_DEFECTS:
        yield f"a defect: {health['defects']}"


def _lacks(parts: Parts) -> Iterator[str]:
    if parts.about.way == NO_WAY:
        yield f"no eBPF, processes are found by scanning: {parts.about.ebpf}"
    if parts.session.phase not in CONNECTED:
        yield f"the backend is not reached: {parts.session.reason}"
    if parts.session.refused:
        yield f"{parts.session.refused} entities are set aside: the backend refuses them"
    yield from filter(None, map(_lack_of, parts.watches))
    if not parts.scanned:
        yield "the first scan is under way"
    if parts.summary is None:
        yield "the discovery thread gives no answer"
    elif parts.summary.defects:
        yield f"the agent itself fails on {parts.summary.defects} processes"
    if parts.foreign_reads != WORKS:
        yield f"reads of other processes are held up: {parts.foreign_reads}"


def _lack_of(watch: WatchState) -> str:
    if not watch.listed:
        return f"{watch.resource} are not listed: {watch.fault or 'no answer yet'}"
    return f"{watch.resource} are not watched: {watch.fault}" if watch.fault else ""
