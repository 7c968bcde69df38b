"""The effective settings for display: every key, its value as a file would have it, its origin."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum
from typing import TYPE_CHECKING, Any

from rover.config.filters import Filter
from rover.config.origin import DEFAULT, Origin
from rover.config.scalars import format_duration
from rover.config.settings import Key, Kind
from rover.gotemplate import Template

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rover.config.load import Loaded

MASK = "********"


@dataclass(frozen=True, slots=True)
class Row:
    """One key."""

    path: str
    value: str | bool | int | list[str] | None
    """As JSON would have it; None where nothing is set. Secrets are masked, durations are text."""
    origin: Origin


def rows(loaded: Loaded) -> list[Row]:
    """List all keys of the effective settings in the order of the tree, items of lists included."""
    return list(_rows(loaded.settings, "", loaded.origins))


def _rows(tree: Any, prefix: str, origins: Mapping[str, Origin]) -> Iterator[Row]:  # noqa: ANN401
    for field in fields(tree):
        key = field.metadata.get("key")
        value = getattr(tree, field.name)
        path = prefix + (key.name if key and key.name else field.name)
        if key is not None:
            yield Row(path, _shown(key, value), origins.get(path, DEFAULT))
        elif "items" in field.metadata:
            for number, item in enumerate(value):
                yield from _rows(item, f"{path}[{number}].", origins)
        else:
            yield from _rows(value, f"{path}.", origins)


def _shown(key: Key, value: Any) -> str | bool | int | list[str] | None:  # noqa: ANN401
    if key.secret:
        return MASK if value else ""
    if key.kind is Kind.SECONDS:
        return format_duration(value)
    if isinstance(value, tuple):
        return [str(_source(item)) for item in value]
    shown: str | bool | int | None = _source(value)
    return shown


def _source(value: Any) -> Any:  # noqa: ANN401 - any setting's
    """Give what the value was made from."""
    match value:
        case Template() | Filter():
            return value.source
        case Enum():
            return value.value
    # an expression is of its engine's own class
    return getattr(value, "pattern", value)
