"""The Go types that a template meets, and how a context declares what it offers.

A context is an ordinary Python object. What a template may reach of it is listed member by member
in an `Object`; nothing else of it can be named, whatever Python attributes it has.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping


class Basic(Enum):
    """Go's basic types as far as templates meet them; the value is Go's name for the type."""

    TEXT = "string"
    INT = "int"
    INT32 = "int32"
    BYTE = "uint8"
    FLOAT = "float64"
    BOOL = "bool"
    ANY = "interface {}"


@dataclass(frozen=True, slots=True)
class ListOf:
    """Go's slice."""

    element: Type


@dataclass(frozen=True, slots=True)
class MapOf:
    """Go's map with string keys."""

    value: Type


@dataclass(frozen=True, slots=True)
class Object:
    """Go's pointer to a struct with methods; None in its place is a nil pointer."""

    name: str
    """As Go writes the type, for messages and ``%T``."""
    members: Mapping[str, Member] = field(hash=False)
    """What a template can name, by Go's name."""


@dataclass(frozen=True, slots=True)
class Member:
    """A field or a method of an object."""

    attribute: str
    """The Python attribute behind it. It is called only where there are parameters; a Go method
    without any is a plain attribute or a property here."""
    result: Type = Basic.TEXT
    parameters: tuple[Type, ...] | None = ()
    """None makes it a field: Go words some errors differently then."""
    optional: int = 0
    """How many of the last parameters may be left out, beyond what Go allows."""


Type: TypeAlias = "Basic | ListOf | MapOf | Object"


def type_name(of: Type) -> str:
    """Spell a type as Go does."""
    match of:
        case Basic():
            return of.value
        case ListOf(element):
            return f"[]{type_name(element)}"
        case MapOf(value):
            return f"map[string]{type_name(value)}"
        case Object(name):
            return name
