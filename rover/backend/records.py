"""What the backend holds, as frozen records, and the same as JSON-ready dicts."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rover.model import Entity

Method = Literal[
    "reportProcesses",
    "keepAlive",
    "queryTasks",
    "collectProfilingData",
    "queryPolicies",
    "reportProfilingTask",
]
"""Of EBPFProcessService, EBPFProfilingService and ContinuousProfilingService."""

Kind = Literal["", "VM", "KUBERNETES"]
"""The server's detect type; empty for a process known from beats alone."""

Json = dict[str, Any]


class Stamp(NamedTuple):
    """One moment on both clocks."""

    wall: float
    """time.time(), seconds."""
    monotonic: float
    """time.monotonic(), seconds; comparable with other processes of the host."""

    @classmethod
    def now(cls) -> Stamp:
        """Read both clocks."""
        return cls(time.time(), time.monotonic())


@dataclass(frozen=True, slots=True)
class StoredProcess:
    """One row: what the server would answer about a process."""

    id: str
    entity: Entity
    """As last sent; its labels are the last that were not empty."""
    service_id: str
    instance_id: str
    first_seen: Stamp
    kind: Kind = ""
    pid: int | None = None
    """None until a report names it: beats carry none."""
    pid_since: Stamp | None = None
    """When the current pid was first accepted."""
    agent_id: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)
    supports_profiling: bool = False
    """Fixed by the first call that names the process, whatever later ones say."""
    last_report: Stamp | None = None
    last_ping: Stamp | None = None
    reports: int = 0
    pings: int = 0
    visible: bool = False
    """A report and a beat named it, and its service is listed: a user of the server finds it."""

    @property
    def last_seen(self) -> Stamp:
        """The later of the last report and the last ping."""
        stamps = (self.first_seen, self.last_report, self.last_ping)
        return max((stamp for stamp in stamps if stamp), key=lambda stamp: stamp.monotonic)

    @property
    def last_ping_minute(self) -> int:
        """The server's own precision of the last ping (reports count too): yyyyMMddHHmm, UTC."""
        return int(time.strftime("%Y%m%d%H%M", time.gmtime(self.last_seen.wall)))

    def as_dict(self) -> Json:
        """Make it JSON-ready; times are seconds since the epoch."""
        return {
            "id": self.id,
            "layer": self.entity.layer,
            "name": self.entity.process,
            "pid": self.pid,
            "kind": self.kind,
            "agent_id": self.agent_id,
            "properties": dict(self.properties),
            "labels": list(self.entity.labels),
            "supports_profiling": self.supports_profiling,
            "visible": self.visible,
            "first_seen": self.first_seen.wall,
            "pid_since": self.pid_since and self.pid_since.wall,
            "last_report": self.last_report and self.last_report.wall,
            "last_ping": self.last_ping and self.last_ping.wall,
            "last_ping_minute": self.last_ping_minute,
            "reports": self.reports,
            "pings": self.pings,
        }


@dataclass(frozen=True, slots=True)
class StoredInstance:
    """A service instance with its processes, in the order they became known."""

    id: str
    name: str
    listed: bool
    processes: tuple[StoredProcess, ...]

    def as_dict(self) -> Json:
        """Make it JSON-ready."""
        return {
            "id": self.id,
            "name": self.name,
            "listed": self.listed,
            "processes": [process.as_dict() for process in self.processes],
        }


@dataclass(frozen=True, slots=True)
class StoredService:
    """A service with its instances, in the order they became known."""

    id: str
    name: str
    layers: tuple[str, ...]
    """Layers that beats named, sorted."""
    labels: tuple[str, ...]
    """Those that fit the server's 50 units, of all its processes, sorted."""
    listed: bool
    """Whether a beat has made it known under a layer other than UNDEFINED."""
    instances: tuple[StoredInstance, ...]

    def as_dict(self) -> Json:
        """Make it JSON-ready."""
        return {
            "id": self.id,
            "name": self.name,
            "layers": list(self.layers),
            "labels": list(self.labels),
            "listed": self.listed,
            "instances": [instance.as_dict() for instance in self.instances],
        }


@dataclass(frozen=True, slots=True)
class Drop:
    """Something the server would answer OK to and lose in silence."""

    what: Literal["item", "process", "label"]
    reason: str
    entity: Entity | None
    """None for an item that names no process."""
    at: Stamp

    def as_dict(self) -> Json:
        """Make it JSON-ready."""
        return {
            "what": self.what,
            "reason": self.reason,
            "entity": entity_dict(self.entity),
            "at": self.at.wall,
        }


class Rule(Enum):
    """A rule of the protocol, checked in ``rover.backend.rules``; the value is what breaks it."""

    ENTITY_OF_TWO_PIDS = "one entity is reported for two pids at once"
    ENTITY_TWICE = "one entity stands twice in one message"
    UNKNOWN_BEAT = "a beat for a process that no report ever named"
    BEAT_WITHOUT_REPORT = "beats go on for a process that is not reported"
    AGENT_ID_CHANGED = "another agent id for the same entity"
    AGENT_ID_MISSING = "the agent id is blank: no task ever arrives"
    BAD_LAYER = "a layer that fails the beat, or UNDEFINED, which is never listed"
    NAME_MISSING = "service, instance and process name are required"
    TOO_LONG = "over a limit: the server loses the row or the label in silence"
    EMPTY_ITEM = "an item with neither hostProcess nor k8sProcess"
    BAD_PID = "a pid that no process has"
    NO_PROFILING_TASK = "stacks of a process for a task that it was never given"
    EMPTY_PROFILING = "a message with neither onCPU nor offCPU fails the stream"
    STACK_TWICE = "two stacks of one flush have the same ids: the server keeps one"
    BAD_MESSAGE = "bytes that do not decode, or text that is not UTF-8"


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule."""

    rule: Rule
    detail: str
    method: Method
    agent_id: str
    at: Stamp
    entity: Entity | None = None

    def __str__(self) -> str:
        text = f"{self.rule.name}: {self.rule.value}: {self.detail}"
        if self.entity is None:
            return f"{text} ({self.method})"
        names = (self.entity.layer, self.entity.service, self.entity.instance, self.entity.process)
        return f"{text} ({self.method}, {' / '.join(names)})"

    def as_dict(self) -> Json:
        """Make it JSON-ready."""
        return {
            "rule": self.rule.name,
            "meaning": self.rule.value,
            "detail": self.detail,
            "method": self.method,
            "agent_id": self.agent_id,
            "entity": entity_dict(self.entity),
            "at": self.at.wall,
        }


@dataclass(frozen=True, slots=True)
class Call:
    """One RPC that reached the service."""

    method: Method
    at: Stamp
    """When it was answered."""
    agent_id: str
    items: int
    size: int
    """Bytes of the request."""
    code: str
    """gRPC status it was answered with, as ``OK``."""

    def as_dict(self) -> Json:
        """Make it JSON-ready."""
        return {
            "method": self.method,
            "at": self.at.wall,
            "agent_id": self.agent_id,
            "items": self.items,
            "size": self.size,
            "code": self.code,
        }


@dataclass(frozen=True, slots=True)
class Change:
    """One difference that a call made."""

    what: Literal["added", "updated", "beat", "forgotten"]
    """``forgotten``: the backend restarted without its memory."""
    process: StoredProcess
    """As it is after the change."""

    def as_dict(self) -> Json:
        """Make it JSON-ready."""
        entity = self.process.entity
        return {
            "change": self.what,
            "service": entity.service,
            "instance": entity.instance,
            **self.process.as_dict(),
        }


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that the backend holds at one moment."""

    services: tuple[StoredService, ...] = ()
    dropped: tuple[Drop, ...] = ()
    """The latest of them; ``dropped_total`` counts all."""
    dropped_total: int = 0
    violations: tuple[Violation, ...] = ()
    """The first of them; ``violations_total`` counts all."""
    violations_total: int = 0
    calls: tuple[Call, ...] = ()
    """The latest of them; ``calls_total`` counts all."""
    calls_total: int = 0

    @property
    def processes(self) -> tuple[StoredProcess, ...]:
        """Every process of every service."""
        return tuple(self._each())

    def find(
        self,
        *,
        service: str | None = None,
        instance: str | None = None,
        process: str | None = None,
        pid: int | None = None,
    ) -> tuple[StoredProcess, ...]:
        """Give the processes with these names (as they were sent) and this pid."""
        wanted = (service, instance, process, pid)
        return tuple(
            found
            for found in self._each()
            if all(
                value is None or value == actual
                for value, actual in zip(
                    wanted,
                    (found.entity.service, found.entity.instance, found.entity.process, found.pid),
                    strict=True,
                )
            )
        )

    def as_dict(self) -> Json:
        """Make it JSON-ready."""
        return {
            "services": [service.as_dict() for service in self.services],
            "dropped": [drop.as_dict() for drop in self.dropped],
            "dropped_total": self.dropped_total,
            "violations": [violation.as_dict() for violation in self.violations],
            "violations_total": self.violations_total,
            "calls": [call.as_dict() for call in self.calls],
            "calls_total": self.calls_total,
        }

    def _each(self) -> Iterator[StoredProcess]:
        for service in self.services:
            for instance in service.instances:
                yield from instance.processes


def entity_dict(entity: Entity | None) -> Json | None:
    """Make an entity JSON-ready."""
    if entity is None:
        return None
    return {
        "layer": entity.layer,
        "service": entity.service,
        "instance": entity.instance,
        "process": entity.process,
        "labels": list(entity.labels),
    }
