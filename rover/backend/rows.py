"""How one call changes one process row: the server's merge and its limits.

Measured on OAP 10.1: a row over a limit is dropped in silence when it is flushed, while the call
that brought it answered OK.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from rover.backend.ids import instance_id, is_blank, is_longer, process_id, service_id, utf16_units
from rover.backend.records import StoredProcess
from rover.model import Entity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rover._proto.common.Common_pb2 import KeyStringValuePair
    from rover._proto.ebpf.profiling.Process_pb2 import (
        EBPFProcessEntityMetadata,
        EBPFProcessPingPkgList,
        EBPFProcessReportList,
    )
    from rover.backend.records import Kind, Stamp

NAME_LIMIT: Final = 500
"""UTF-16 units of a process name. Longer service and instance names are cut, not refused."""
AGENT_ID_LIMIT: Final = 500
LABELS_LIMIT: Final = 500
"""UTF-16 units of all labels as JSON."""
PROPERTIES_LIMIT: Final = 50_000
"""UTF-16 units of all properties as JSON."""
LABEL_LIMIT: Final = 50
"""UTF-16 units of one label; a longer one is lost alone."""

PROFILED: Final = "support_ebpf_profiling"

_ESCAPED: Final = "<>&='\u2028\u2029"
"""What the server's JSON writer spells as ``\\uXXXX`` although JSON would not need it."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one item of a call says of one process."""

    entity: Entity
    agent_id: str
    properties: Mapping[str, str]
    kind: Kind = ""
    """Empty for a beat."""
    pid: int | None = None
    """None for a beat."""
    id: str = field(init=False)

    def __post_init__(self) -> None:
        entity = self.entity
        object.__setattr__(self, "id", process_id(entity.service, entity.instance, entity.process))


def told_by_report(request: EBPFProcessReportList) -> list[Told | None]:
    """Read a report; None stands for an item of which neither kind is set."""
    agent_id = request.ebpfAgentID
    told: list[Told | None] = []
    for item in request.processes:
        match item.WhichOneof("metadata"):
            case "hostProcess":
                host = item.hostProcess
                told.append(
                    Told(_entity(host.entity), agent_id, _pairs(host.properties), "VM", host.pid)
                )
            case "k8sProcess":
                pod = item.k8sProcess
                told.append(
                    Told(
                        _entity(pod.entity), agent_id, _pairs(pod.properties), "KUBERNETES", pod.pid
                    )
                )
            case _:
                told.append(None)
    return told


def told_by_beat(request: EBPFProcessPingPkgList) -> list[Told]:
    """Read a beat; an item without entity has empty names, as on the server."""
    return [
        Told(_entity(item.entityMetadata), request.ebpfAgentID, _pairs(item.properties))
        for item in request.processes
    ]


def merged(row: StoredProcess | None, told: Told, at: Stamp, *, listed: bool) -> StoredProcess:
    """Make the row that the server would try to store.

    Args:
        row: What is stored; None for a process that is new.
        told: What a call says of it.
        at: When.
        listed: Whether its service is.
    """
    if row is None:
        row = StoredProcess(
            id=told.id,
            entity=told.entity,
            service_id=service_id(told.entity.service),
            instance_id=instance_id(told.entity.service, told.entity.instance),
            first_seen=at,
            supports_profiling=told.properties.get(PROFILED) == "true",
        )
    entity = told.entity
    if not entity.labels and row.entity.labels:
        entity = replace(entity, labels=row.entity.labels)
    agent_id = row.agent_id if is_blank(told.agent_id) else told.agent_id
    properties = row.properties
    if any(properties.get(key) != value for key, value in told.properties.items()):
        properties = {**properties, **told.properties}
    if told.pid is None:
        return replace(
            row,
            entity=entity,
            agent_id=agent_id,
            properties=properties,
            last_ping=at,
            pings=row.pings + 1,
            visible=listed and row.reports > 0,
        )
    return replace(
        row,
        entity=entity,
        agent_id=agent_id,
        properties=properties,
        kind=told.kind,
        pid=told.pid,
        pid_since=row.pid_since if row.pid == told.pid else at,
        last_report=at,
        reports=row.reports + 1,
        visible=listed and row.pings > 0,
    )


def over_limit(entity: Entity, agent_id: str, properties: Mapping[str, str]) -> str:
    """Say which limit keeps a row with these values from being stored; empty where none does."""
    if is_longer(entity.process, NAME_LIMIT):
        return too_long("process name", utf16_units(entity.process), NAME_LIMIT)
    if is_longer(agent_id, AGENT_ID_LIMIT):
        return too_long("agent id", utf16_units(agent_id), AGENT_ID_LIMIT)
    if entity.labels and (units := labels_units(entity.labels)) > LABELS_LIMIT:
        return too_long("labels as JSON", units, LABELS_LIMIT)
    if (units := properties_units(properties)) > PROPERTIES_LIMIT:
        return too_long("properties as JSON", units, PROPERTIES_LIMIT)
    return ""


def too_long(what: str, units: int, limit: int) -> str:
    """Say by how much something is over its limit."""
    return f"{what}: {units} UTF-16 units, {limit} fit"


def labels_units(labels: tuple[str, ...]) -> int:
    """Length of the labels in the server's JSON; nothing is stored for none."""
    return _json_units(list(labels)) if labels else 0


def properties_units(properties: Mapping[str, str]) -> int:
    """Length of the properties in the server's JSON, counted exactly only where it matters."""
    # no character takes more than six units in JSON: short properties need no encoding
    rough = len("".join(properties)) + len("".join(properties.values())) + 2 * len(properties)
    return rough if 6 * rough <= PROPERTIES_LIMIT else _json_units(dict(properties))


def _json_units(value: list[str] | dict[str, str]) -> int:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return utf16_units(text) + 5 * sum(map(text.count, _ESCAPED))


def _entity(message: EBPFProcessEntityMetadata) -> Entity:
    return Entity(
        message.layer,
        message.serviceName,
        message.instanceName,
        message.processName,
        tuple(message.labels),
    )


def _pairs(properties: Iterable[KeyStringValuePair]) -> Mapping[str, str]:
    """Of two with one key the last wins."""
    return {pair.key: pair.value for pair in properties}
