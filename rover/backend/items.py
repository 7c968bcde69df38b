"""What the items of a call say of processes, read from the protocol's messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rover.backend.ids import process_id
from rover.model import Entity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rover._proto.common.Common_pb2 import KeyStringValuePair
    from rover._proto.ebpf.profiling.Process_pb2 import (
        EBPFProcessEntityMetadata,
        EBPFProcessPingPkgList,
        EBPFProcessReportList,
    )
    from rover.backend.records import Kind


@dataclass(frozen=True, slots=True)
class Item:
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


def reported_items(request: EBPFProcessReportList) -> list[Item | None]:
    """Read a report; None stands for an item of which neither kind is set."""
    agent_id = request.ebpfAgentID
    items: list[Item | None] = []
    for sent in request.processes:
        match sent.WhichOneof("metadata"):
            case "hostProcess":
                host = sent.hostProcess
                items.append(
                    Item(_entity(host.entity), agent_id, _pairs(host.properties), "VM", host.pid)
                )
            case "k8sProcess":
                pod = sent.k8sProcess
                items.append(
                    Item(
                        _entity(pod.entity), agent_id, _pairs(pod.properties), "KUBERNETES", pod.pid
                    )
                )
            case _:
                items.append(None)
    return items


def beat_items(request: EBPFProcessPingPkgList) -> list[Item]:
    """Read a beat; an item without entity has empty names, as on the server."""
    return [
        Item(_entity(sent.entityMetadata), request.ebpfAgentID, _pairs(sent.properties))
        for sent in request.processes
    ]


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
