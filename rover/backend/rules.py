"""The protocol's rules, checked on every call: what a careful agent never does.

The server lets most of these pass and loses or mixes data in silence, so an agent that breaks them
looks healthy. ``rover backend --strict`` and the pytest fixtures make them fail a run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rover.backend.limits import (
    AGENT_ID_LIMIT,
    is_longer,
    labels_units,
    properties_units,
    too_long,
)
from rover.backend.records import Rule, Violation
from rover.config.layers import LAYERS_10_1, UNDEFINED
from rover.model import (
    LABEL_LIMIT,
    LABELS_LIMIT,
    NAME_LIMIT,
    PROPERTIES_LIMIT,
    is_blank,
    utf16_units,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rover.backend.items import Item
    from rover.backend.records import Method, Stamp
    from rover.model import Entity

ENTITIES_KEPT: Final = 200_000
"""Beyond them the longest known is forgotten, and counts as new when it comes again."""
PIDS_KEPT: Final = 16
"""Former pids remembered for one entity; enough to see it flap."""


@dataclass(slots=True)
class _Known:
    """What is remembered of one entity."""

    agent_id: str = ""
    pid: int | None = None
    former_pids: tuple[int, ...] = ()
    reported: bool = False
    """In the backend's present memory."""
    ever_reported: bool = False
    beats_unreported: int = 0
    valid_entity: Entity | None = None
    """The entity in full, once it has been checked and nothing found."""


class Rules:
    """Watches the calls of all agents; one thread at a time, no I/O.

    Entities are told apart by process id, as the server does: names count to 70 units and the
    layer does not count.
    """

    def __init__(self, layers: frozenset[str] = LAYERS_10_1) -> None:
        self._layers = layers
        self._known: dict[str, _Known] = {}

    def forgotten(self) -> None:
        """Take note that the backend restarted without its memory: all is to be reported anew."""
        for known in self._known.values():
            known.reported = False
            known.beats_unreported = 0

    def undecodable(self, method: Method, why: str, at: Stamp) -> Violation:
        """Say that a message could not be read at all."""
        return Violation(Rule.BAD_MESSAGE, why, method, "", at)

    def report(self, items: Sequence[Item | None], agent_id: str, at: Stamp) -> list[Violation]:
        """Check a report; None stands for an item of which neither kind is set."""
        found: list[_Found] = []
        for position, item in enumerate(items):
            if item is None:
                found.append((Rule.EMPTY_ITEM, f"item {position}", None))
            else:
                found += self._check_report(item)
        found += _check_message(agent_id, [item for item in items if item is not None])
        return _violations(found, "reportProcesses", agent_id, at)

    def beat(self, items: Sequence[Item], agent_id: str, at: Stamp) -> list[Violation]:
        """Check a beat."""
        found: list[_Found] = []
        for item in items:
            found += self._check_beat(item)
        found += _check_message(agent_id, items)
        return _violations(found, "keepAlive", agent_id, at)

    def _check_report(self, item: Item) -> Iterator[_Found]:
        yield from self._check_item(item)
        known = self._known[item.id]
        known.reported = known.ever_reported = True
        known.beats_unreported = 0
        pid = item.pid
        if pid is None or pid <= 0:
            yield Rule.BAD_PID, f"pid {pid}", item.entity
        elif known.pid is None:
            known.pid = pid
        elif known.pid != pid:
            if pid in known.former_pids:
                detail = f"pid {pid} again after pid {known.pid}"
                yield Rule.ENTITY_OF_TWO_PIDS, detail, item.entity
            known.former_pids = (*known.former_pids, known.pid)[-PIDS_KEPT:]
            known.pid = pid

    def _check_beat(self, item: Item) -> Iterator[_Found]:
        yield from self._check_item(item)
        known = self._known[item.id]
        if known.reported:
            return
        known.beats_unreported += 1
        if known.beats_unreported > 1:
            detail = f"beat {known.beats_unreported} without a report"
            yield Rule.BEAT_WITHOUT_REPORT, detail, item.entity
        elif not known.ever_reported:
            yield Rule.UNKNOWN_BEAT, "its first beat came before any report", item.entity

    def _check_item(self, item: Item) -> Iterator[_Found]:
        """Check what holds for one item of either call, and remember the agent."""
        entity = item.entity
        known = self._known.get(item.id)
        if known is None:
            if len(self._known) >= ENTITIES_KEPT:
                del self._known[next(iter(self._known))]
            known = self._known[item.id] = _Known()
        if known.agent_id and item.agent_id and known.agent_id != item.agent_id:
            detail = f"{item.agent_id!r} after {known.agent_id!r}"
            yield Rule.AGENT_ID_CHANGED, detail, entity
        known.agent_id = item.agent_id or known.agent_id
        if (units := properties_units(item.properties)) > PROPERTIES_LIMIT:
            detail = too_long("properties as JSON", units, PROPERTIES_LIMIT)
            yield Rule.TOO_LONG, detail, entity
        if known.valid_entity != entity:
            wrong = list(self._check_entity(entity))
            known.valid_entity = None if wrong else entity
            yield from wrong

    def _check_entity(self, entity: Entity) -> Iterator[_Found]:
        """Check what an entity alone can break."""
        if entity.layer not in self._layers or entity.layer == UNDEFINED:
            yield Rule.BAD_LAYER, f"layer {entity.layer!r}", entity
        for what, name in (
            ("service name", entity.service),
            ("instance name", entity.instance),
            ("process name", entity.process),
        ):
            if is_blank(name):
                yield Rule.NAME_MISSING, f"{what} {name!r}", entity
            if is_longer(name, NAME_LIMIT):
                yield Rule.TOO_LONG, too_long(what, utf16_units(name), NAME_LIMIT), entity
        for label in entity.labels:
            if is_longer(label, LABEL_LIMIT):
                yield Rule.TOO_LONG, too_long("label", utf16_units(label), LABEL_LIMIT), entity
        if (units := labels_units(entity.labels)) > LABELS_LIMIT:
            yield Rule.TOO_LONG, too_long("labels as JSON", units, LABELS_LIMIT), entity


_Found = tuple[Rule, str, "Entity | None"]


def _check_message(agent_id: str, items: Sequence[Item]) -> Iterator[_Found]:
    """Check what holds for a message as a whole."""
    if is_blank(agent_id):
        yield Rule.AGENT_ID_MISSING, f"agent id {agent_id!r}", None
    if is_longer(agent_id, AGENT_ID_LIMIT):
        detail = too_long("agent id", utf16_units(agent_id), AGENT_ID_LIMIT)
        yield Rule.TOO_LONG, detail, None
    pids: dict[str, int | None] = {}
    seen = set()
    for item in items:
        pid = pids.setdefault(item.id, item.pid)
        if pid != item.pid:
            detail = f"pids {pid} and {item.pid} in one message"
            yield Rule.ENTITY_OF_TWO_PIDS, detail, item.entity
        elif (item.id, item.entity.layer) in seen:
            yield Rule.ENTITY_TWICE, "in one message", item.entity
        # one process may stand under one name in several layers, as in a mesh with services
        seen.add((item.id, item.entity.layer))


def _violations(found: list[_Found], method: Method, agent_id: str, at: Stamp) -> list[Violation]:
    return [Violation(rule, detail, method, agent_id, at, entity) for rule, detail, entity in found]
