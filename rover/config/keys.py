"""All keys by the names they have in the file."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any

from rover.config.settings import Key, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True, slots=True)
class Setting:
    """A key and where it stands."""

    path: str
    """In the file's spelling; ``[]`` follows the name of a list of sections."""
    key: Key
    default: Any
    """MISSING where it must be given, as of some keys in lists."""
    section: type
    """Declares it."""
    attribute: str
    """Its name there."""


@cache
def all_keys() -> tuple[Setting, ...]:
    """List every key, those of list items included, in the order of the tree."""
    return tuple(_keys_of(Settings, ""))


def _keys_of(tree: type, prefix: str) -> Iterator[Setting]:
    for field in fields(tree):
        key = field.metadata.get("key")
        items = field.metadata.get("items")
        if key is not None:
            path = prefix + (key.name or field.name)
            yield Setting(path, key, field.default, tree, field.name)
        elif items is not None:
            yield from _keys_of(items, f"{prefix}{field.name}[].")
        else:
            yield from _keys_of(type(field.default), f"{prefix}{field.name}.")


@cache
def children(section: str) -> frozenset[str]:
    """Name what may stand right under a section ("" for the top), in lower case."""
    prefix = f"{section}." if section else ""
    return frozenset(
        setting.path[len(prefix) :].partition(".")[0].removesuffix("[]").lower()
        for setting in all_keys()
        if setting.path.lower().startswith(prefix.lower())
    )


@cache
def _spellings() -> dict[str, str]:
    return {setting.path.lower(): setting.path for setting in all_keys()}


def spelling(path: str) -> str:
    """Give a key as the file spells it, whatever the case of its letters; an unknown one as is."""
    return _spellings().get(path.lower(), path)


def nearest(path: str, others: Iterable[str] = ()) -> str:
    """Find the known key most like an unknown one, or ""."""
    if meant := mistaken(path, others):
        return meant
    near = difflib.get_close_matches(path.lower(), _known(path, others), 1, 0.6)
    return spelling(near[0]) if near else ""


def mistaken(path: str, others: Iterable[str] = ()) -> str:
    """Find the known key that an unknown one is a slip of: mistyped, or in the wrong place."""
    parent, _, name = path.rpartition(".")
    # A key in the wrong place is more likely than one that merely looks alike elsewhere.
    if near := difflib.get_close_matches(name.lower(), [*children(parent), *others], 1, 0.7):
        return spelling(f"{parent}.{near[0]}" if parent else near[0])
    known = _known(path, others)
    return min((key for key in known if key.rpartition(".")[2].lower() == name.lower()), default="")


def _known(path: str, others: Iterable[str]) -> set[str]:
    parent = path.rpartition(".")[0]
    keys = {setting.path.replace("[]", "") for setting in all_keys()}
    # what stands at the top may be a section that belongs below another
    above = {section for key in keys for section in _parents(key)} if not parent else set()
    siblings = {f"{parent}.{child}" if parent else child for child in children(parent)}
    return keys | above | siblings | {*others}


def _parents(path: str) -> Iterator[str]:
    while path := path.rpartition(".")[0]:
        yield path
