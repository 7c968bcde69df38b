"""How the server counts what it holds to its limits.

Counted apart from ``rover.reporter.limits``, which cuts texts to fit: a miscount there shows here.

Measured on OAP 10.1: a row over a limit is dropped in silence when it is flushed, while the call
that brought it answered OK.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from rover.model import (
    LABELS_LIMIT,
    NAME_LIMIT,
    PROPERTIES_LIMIT,
    utf16_units,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rover.model import Entity

AGENT_ID_LIMIT: Final = 500
"""UTF-16 units."""

_ESCAPED: Final = "<>&='\u2028\u2029"
"""What the server's JSON writer spells as ``\\uXXXX`` although JSON would not need it."""


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


def is_longer(text: str, units: int) -> bool:
    """Whether a text takes more UTF-16 units than these; cheap where it is far from it."""
    return 2 * len(text) > units and utf16_units(text) > units


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
