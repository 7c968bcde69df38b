"""Values while a template is evaluated, and how Go sees them.

Text, booleans, floats and Go's ``int`` are Python's own. Narrower integers, pointers, slices and
maps carry their Go type; `NOTHING` is Go's invalid value: an untyped nil, or a missing map entry.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from rover.gotemplate.types import Basic, ListOf, MapOf, Object, Type, type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Int32(int):
    """Go's int32."""

    __slots__ = ()


class Byte(int):
    """Go's uint8."""

    __slots__ = ()


class _Nothing(Enum):
    NOTHING = 0


NOTHING: Final = _Nothing.NOTHING


class Pointer(NamedTuple):
    """An object of a context, with what its schema lets a template see."""

    type: Object
    target: object | None


class Items(NamedTuple):
    """A slice."""

    type: ListOf
    values: Sequence[Any]


class Entries(NamedTuple):
    """A map."""

    type: MapOf
    values: Mapping[str, Any]


Value: TypeAlias = "str | bool | int | float | Pointer | Items | Entries | _Nothing"


class Ordering(Enum):
    """What Go compares with what."""

    BOOL = "bool"
    SIGNED = "int"
    UNSIGNED = "uint"
    FLOAT = "float"
    TEXT = "string"


_PYTHON_TYPES: Final[dict[Basic, Callable[..., Any]]] = {
    Basic.TEXT: str,
    Basic.BOOL: bool,
    Basic.INT: int,
    Basic.INT32: Int32,
    Basic.BYTE: Byte,
    Basic.FLOAT: float,
}
_GO_TYPES: Final[dict[object, Basic]] = {python: basic for basic, python in _PYTHON_TYPES.items()}
_ORDERINGS: Final = {
    Basic.BOOL: Ordering.BOOL,
    Basic.INT: Ordering.SIGNED,
    Basic.INT32: Ordering.SIGNED,
    Basic.BYTE: Ordering.UNSIGNED,
    Basic.FLOAT: Ordering.FLOAT,
    Basic.TEXT: Ordering.TEXT,
}


def adopt(value: object, declared: Type) -> Value:
    """Make what a context gave into a value of its declared type."""
    if isinstance(declared, Basic):
        return _adopt_basic(value, declared)
    if isinstance(declared, Object):
        return Pointer(declared, value)
    if value is None:
        return NOTHING
    # The schema vouches for what is in lists and maps.
    if isinstance(declared, ListOf):
        return Items(declared, value)  # type: ignore[arg-type]
    return Entries(declared, value)  # type: ignore[arg-type]


def _adopt_basic(value: object, declared: Basic) -> Value:
    if declared is Basic.TEXT and type(value) is str:
        return value
    if value is None:
        return NOTHING
    if declared is not Basic.ANY:
        return _PYTHON_TYPES[declared](value)  # type: ignore[no-any-return]
    if type(value) in (list, tuple):
        return Items(ListOf(Basic.ANY), value)  # type: ignore[arg-type]
    if type(value) is dict:
        return Entries(MapOf(Basic.ANY), value)
    return value  # type: ignore[return-value]  # text, boolean, number, or adopted already


def zero(of: Type) -> Value:
    """Give Go's zero value of a type."""
    match of:
        case Object():
            return Pointer(of, None)
        case ListOf():
            return Items(of, ())
        case MapOf():
            return Entries(of, {})
        case Basic.ANY:
            return NOTHING
    return _PYTHON_TYPES[of]()  # type: ignore[no-any-return]


def type_of(value: Value) -> Type | None:
    """Tell a value's Go type, None for nothing."""
    if isinstance(value, Pointer | Items | Entries):
        return value.type
    return _GO_TYPES.get(type(value))


def describe(value: Value) -> str:
    """Name a value's type for a message."""
    of = type_of(value)
    return "nil" if of is None else type_name(of)


def ordering_of(of: Type | None) -> Ordering | None:
    """Tell what values of a type can be compared with; None for pointers, slices, maps, nothing."""
    return _ORDERINGS.get(of) if isinstance(of, Basic) else None


def truth(value: Value) -> bool:
    """Tell whether ``if`` takes a value for true: not the zero of its type, not empty."""
    match value:
        case Pointer(_, target):
            return target is not None
        case Items(_, values) | Entries(_, values):
            return bool(values)
        case _Nothing():
            return False
    return bool(value)


def to_bytes(text: str) -> bytes:
    """Give text as the bytes that Go counts, indexes and escapes."""
    return text.encode(errors="surrogateescape")


def to_text(data: bytes) -> str:
    """Give bytes as text; those that are no UTF-8 survive as surrogates."""
    return data.decode(errors="surrogateescape")


def joined(text: str) -> str:
    """Let bytes that make a character together become that character."""
    return text if text.isascii() else to_text(to_bytes(text))
