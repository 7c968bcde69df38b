"""What happens to processes and entities, for who listens; while nobody does it costs nothing.

The discovery thread asks one attribute, `is_heard`, before it makes anything of what happened. Who
listens asks again and again for what came after the last that it has; when nobody has asked for a
while, nothing is kept any more. What is kept is bounded: who is too slow is told what it missed.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from rover import metrics
from rover.k8s.cgroup import containers_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rover.model import Changes, EntityKey, Process, Report, Verdict

KEPT: Final = 8_192
"""Events."""
AT_ONCE: Final = 1_000
"""Events that one answer has."""
LISTENING: Final = 5.0
"""Seconds after a question for which somebody counts as listening."""
COMMAND_SHOWN: Final = 300
"""Characters of a command line."""


class Kind(StrEnum):
    """What happened."""

    EXEC = "exec"
    """A process that has settled runs a program that is new to it."""
    FORK = "fork"
    """A process that has settled runs its parent's program."""
    EXIT = "exit"
    FOUND = "found"
    """A scan found it, no event told of it."""
    GONE = "gone"
    """It was looked at and not there any more, before an event told of that."""
    APPEARED = "appeared"
    """An entity is reported for the first time, or again after it was withdrawn."""
    REPORTED_AGAIN = "re-reported"
    """Another process leads an entity, or facts of it changed."""
    WITHDRAWN = "withdrawn"
    """No live process leads an entity any longer."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened; what is not known, or is none of its business, is empty."""

    number: int
    """Grows by one with each event."""
    at: float
    """Seconds since the epoch."""
    kind: Kind
    pid: int = 0
    uid: int = -1
    name: str = ""
    command_line: str = ""
    layer: str = ""
    service: str = ""
    instance: str = ""
    process: str = ""
    container: str = ""
    """Its name in the pod; else the beginning of its id."""
    namespace: str = ""
    pod: str = ""


class Heard(NamedTuple):
    """What a listener gets."""

    events: Sequence[Event]
    after: int
    """To ask with the next time."""
    lost: int
    """Events before the first of these that this listener has missed; at least one where it has
    not asked for longer than `LISTENING`."""


class Feed:
    """Events in their order, bounded."""

    def __init__(self, kept: int = KEPT, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nobody listening.

        Args:
            kept: events at most.
            clock: seconds that only grow.
        """
        self.is_heard = False
        """Whether anybody listens; the one thing that the discovery thread asks otherwise."""
        self._clock = clock
        self._until = 0.0
        self._number = 0
        self._events: deque[Event] = deque(maxlen=kept)
        self._lock = threading.Lock()

    def hear(self, after: int | None) -> Heard:
        """Listen: return what came after an event; from any thread, never waits.

        Args:
            after: number of the last event that the listener has; None for one that begins.
        """
        with self._lock:
            self._until = self._clock() + LISTENING
            self.is_heard = True
            if after is None or after > self._number:  # of another run of the agent
                return Heard((), self._number, 0)
            oldest = self._events[0].number if self._events else self._number + 1
            begin = max(after + 1, oldest)
            first = begin - oldest
            some = tuple(islice(self._events, first, first + AT_ONCE))
        lost = begin - after - 1
        if lost:
            metrics.LOST_FEED.inc(lost)
        return Heard(some, some[-1].number if some else max(after, begin - 1), lost)

    def tell(self, kind: Kind, process: Process, verdict: Verdict) -> None:
        """Take in what happened to a process; the discovery thread alone calls this."""
        report = verdict.reports[0] if verdict.reports else None
        refs = containers_of(process.cgroup)
        facts = {"container": refs[0].id[:12]} if refs else {}
        self._add(kind, facts | _facts_of(process) | (_names_of(report) if report else {}))

    def changed(self, changes: Changes) -> None:
        """Take in what the table announces; the discovery thread alone calls this."""
        for report in changes.announced:
            again = report.entity.key in changes.again
            kind = Kind.REPORTED_AGAIN if again else Kind.APPEARED
            self._add(kind, _facts_of(report.process) | _names_of(report))
        for key in changes.withdrawn:
            self._add(Kind.WITHDRAWN, _names_of_key(key))

    def _add(self, kind: Kind, facts: dict[str, int | str]) -> None:
        with self._lock:
            if self._clock() > self._until:
                self.is_heard = False
                self._events.clear()
                self._number += 1  # who comes back is to see that something was missed
                return
            self._number += 1
            self._events.append(Event(self._number, time.time(), kind, **facts))  # type: ignore[arg-type]


def _facts_of(process: Process) -> dict[str, int | str]:
    return {
        "pid": process.pid,
        "uid": process.uid,
        "name": process.name,
        "command_line": process.told[:COMMAND_SHOWN],
    }


def _names_of(report: Report) -> dict[str, int | str]:
    told = _names_of_key(report.entity.key)
    container = report.container
    if container is not None:
        told |= {
            "container": container.name,
            "namespace": container.namespace,
            "pod": container.pod_name,
        }
    return told


def _names_of_key(key: EntityKey) -> dict[str, int | str]:
    layer, service, instance, process = key
    return {"layer": layer, "service": service, "instance": instance, "process": process}
