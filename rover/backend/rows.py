"""How one item of a call changes one process row: the server's merge (OAP 10.1)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from rover.backend.ids import instance_id, service_id
from rover.backend.records import StoredProcess
from rover.model import is_blank

if TYPE_CHECKING:
    from rover.backend.items import Item
    from rover.backend.records import Stamp

PROFILED: Final = "support_ebpf_profiling"


def merged(row: StoredProcess | None, item: Item, at: Stamp, *, listed: bool) -> StoredProcess:
    """Make the row that the server would try to store.

    Args:
        row: What is stored; None for a process that is new.
        item: What a call says of it.
        at: When.
        listed: Whether its service is.
    """
    if row is None:
        row = StoredProcess(
            id=item.id,
            entity=item.entity,
            service_id=service_id(item.entity.service),
            instance_id=instance_id(item.entity.service, item.entity.instance),
            first_seen=at,
            supports_profiling=item.properties.get(PROFILED) == "true",
        )
    entity = item.entity
    if not entity.labels and row.entity.labels:
        entity = replace(entity, labels=row.entity.labels)
    agent_id = row.agent_id if is_blank(item.agent_id) else item.agent_id
    properties = row.properties
    if any(properties.get(key) != value for key, value in item.properties.items()):
        properties = {**properties, **item.properties}
    if item.pid is None:
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
        kind=item.kind,
        pid=item.pid,
        pid_since=row.pid_since if row.pid == item.pid else at,
        last_report=at,
        reports=row.reports + 1,
        visible=listed and row.pings > 0,
    )
