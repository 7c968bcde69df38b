"""All rows of the backend and what a call does to them; one thread at a time, no I/O."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from rover._proto.ebpf.profiling.Process_pb2 import EBPFReportProcessDownstream
from rover.backend.ids import instance_id, service_id, stored_name
from rover.backend.limits import over_limit, too_long
from rover.backend.records import (
    Change,
    Drop,
    Snapshot,
    StoredInstance,
    StoredProcess,
    StoredService,
)
from rover.backend.rows import merged
from rover.config.layers import LAYERS_10_1, UNDEFINED
from rover.model import LABEL_LIMIT, utf16_units

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rover._proto.ebpf.profiling.Process_pb2 import EBPFProcessReportList
    from rover.backend.items import Item
    from rover.backend.records import Stamp
    from rover.model import Entity

DROPS_KEPT: Final = 1_000
ROWS_KEPT: Final = 1_000_000
"""A bound against a client that makes up names; the 1,000,001st new process is dropped."""


@dataclass(frozen=True, slots=True)
class FailedBeat:
    """A beat that failed at one item: those before it are stored, it and the rest are lost."""

    at_item: int
    layer: str
    changes: tuple[Change, ...]


@dataclass(slots=True)
class _Service:
    name: str
    layers: set[str] = field(default_factory=set)
    labels: set[str] = field(default_factory=set)
    instances: dict[str, _Instance] = field(default_factory=dict)

    @property
    def listed(self) -> bool:
        return bool(self.layers - {UNDEFINED})


@dataclass(slots=True)
class _Instance:
    name: str
    pinged: bool = False
    """Whether a beat has made it known."""
    processes: dict[str, None] = field(default_factory=dict)
    """Ids in the order they became known."""


class Storage:
    """What a server would have in its database; see ``rover.backend.state`` for the threads."""

    def __init__(self, layers: frozenset[str] = LAYERS_10_1) -> None:
        self._layers = layers
        self._rows: dict[str, StoredProcess] = {}
        self._services: dict[str, _Service] = {}
        self._drops: deque[Drop] = deque(maxlen=DROPS_KEPT)
        self._dropped = 0

    def report(
        self, request: EBPFProcessReportList, items: Sequence[Item | None], at: Stamp
    ) -> tuple[EBPFReportProcessDownstream, tuple[Change, ...]]:
        """Store a report; the answer keeps its order and echoes pid and entity.

        Args:
            request: The report itself, to echo from.
            items: What it says, in its order.
            at: When it came.
        """
        answer = EBPFReportProcessDownstream()
        changes: list[Change] = []
        for sent, item in zip(request.processes, items, strict=True):
            if item is None:
                self._drop(Drop("item", "neither hostProcess nor k8sProcess is set", None, at))
                continue
            changes += self._store(item, at)
            echo = answer.processes.add(processId=item.id)
            if item.kind == "KUBERNETES":
                echo.k8sProcess.pid = sent.k8sProcess.pid
                echo.k8sProcess.entityMetadata.MergeFrom(sent.k8sProcess.entity)
            else:
                echo.hostProcess.pid = sent.hostProcess.pid
                echo.hostProcess.entityMetadata.MergeFrom(sent.hostProcess.entity)
        return answer, tuple(changes)

    def beat(self, items: Sequence[Item], at: Stamp) -> tuple[Change, ...] | FailedBeat:
        """Store a beat up to the first item whose layer the server does not know."""
        changes: list[Change] = []
        for position, item in enumerate(items):
            if item.entity.layer not in self._layers:
                return FailedBeat(position, item.entity.layer, tuple(changes))
            changes += self._list(item.entity)
            changes += self._store(item, at)
        return tuple(changes)

    def forget(self) -> tuple[Change, ...]:
        """Lose everything, as a server does whose database went with it."""
        changes = tuple(Change("forgotten", row) for row in self._rows.values())
        self._rows.clear()
        self._services.clear()
        self._drops.clear()
        self._dropped = 0
        return changes

    def snapshot(self) -> Snapshot:
        """Copy the rows into frozen records; violations and calls are the caller's to add."""
        return Snapshot(
            services=tuple(
                StoredService(
                    id=key,
                    name=service.name,
                    layers=tuple(sorted(service.layers)),
                    labels=tuple(sorted(service.labels)),
                    listed=service.listed,
                    instances=tuple(
                        StoredInstance(
                            id=instance_key,
                            name=instance.name,
                            listed=instance.pinged and service.listed,
                            processes=tuple(self._rows[row] for row in instance.processes),
                        )
                        for instance_key, instance in service.instances.items()
                    ),
                )
                for key, service in self._services.items()
            ),
            dropped=tuple(self._drops),
            dropped_total=self._dropped,
        )

    def _store(self, item: Item, at: Stamp) -> tuple[Change, ...]:
        known = self._rows.get(item.id)
        service = self._services.get(service_id(item.entity.service))
        row = merged(known, item, at, listed=service is not None and service.listed)
        lost = over_limit(row.entity, row.agent_id, row.properties)
        if not lost and known is None and len(self._rows) >= ROWS_KEPT:
            lost = f"more than {ROWS_KEPT} processes"
        if lost:
            self._drop(Drop("process", lost, item.entity, at))
            return ()
        service = service or self._service(item.entity)
        if item.entity.labels:
            self._label(service, item.entity, at)
        self._rows[row.id] = row
        if known is None:
            self._instance(service, item.entity).processes[row.id] = None
            return (Change("added", row),)
        if item.pid is None and row.visible == known.visible and _same_facts(row, known):
            return (Change("beat", row),)
        return (Change("updated", row),)

    def _list(self, entity: Entity) -> list[Change]:
        """Make service and instance known, which beats alone do."""
        service = self._service(entity)
        self._instance(service, entity).pinged = True
        only_undefined = bool(service.layers) and not service.listed
        service.layers.add(entity.layer)
        if not (only_undefined and service.listed):
            return []
        changes = []
        for instance in service.instances.values():
            for key in instance.processes:
                row = self._rows[key]
                if row.reports and row.pings:
                    self._rows[key] = replace(row, visible=True)
                    changes.append(Change("updated", self._rows[key]))
        return changes

    def _service(self, entity: Entity) -> _Service:
        key = service_id(entity.service)
        if key not in self._services:
            self._services[key] = _Service(stored_name(entity.service))
        return self._services[key]

    def _instance(self, service: _Service, entity: Entity) -> _Instance:
        key = instance_id(entity.service, entity.instance)
        if key not in service.instances:
            service.instances[key] = _Instance(stored_name(entity.instance))
        return service.instances[key]

    def _label(self, service: _Service, entity: Entity, at: Stamp) -> None:
        for label in entity.labels:
            if label in service.labels:
                continue
            units = utf16_units(label)
            if units > LABEL_LIMIT:
                self._drop(Drop("label", too_long("label", units, LABEL_LIMIT), entity, at))
            else:
                service.labels.add(label)

    def _drop(self, drop: Drop) -> None:
        self._drops.append(drop)
        self._dropped += 1


def _same_facts(row: StoredProcess, known: StoredProcess) -> bool:
    return (row.entity, row.agent_id, row.properties) == (
        known.entity,
        known.agent_id,
        known.properties,
    )
