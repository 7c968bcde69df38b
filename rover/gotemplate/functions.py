"""The functions a template can call: Go's own, and the one that SkyWalking Rover adds.

``and``, ``or`` are not here: they stop at the first argument that decides, so the evaluator does
them itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rover.gotemplate.errors import TemplateError
from rover.gotemplate.formatting import PLAIN, format_value
from rover.gotemplate.printing import sprint, sprintf, sprintln
from rover.gotemplate.types import Basic, ListOf, MapOf, Object, Type
from rover.gotemplate.values import (
    NOTHING,
    Byte,
    Entries,
    Items,
    Ordering,
    Pointer,
    Value,
    adopt,
    describe,
    joined,
    ordering_of,
    to_bytes,
    to_text,
    truth,
    type_of,
    zero,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Signature:
    """What a function takes and gives."""

    call: Callable[..., Value]
    result: Type | None
    """None where it depends on the arguments."""
    fixed: tuple[Type, ...] = ()
    variadic: bool = False
    """Any number of arguments of any type may follow."""


def _not(value: Value) -> bool:
    return not truth(value)


def _length(value: Value) -> int:
    match value:
        case str():
            return len(to_bytes(value))
        case Items(_, values) | Entries(_, values):
            return len(values)
    raise TemplateError(f"{describe(value)} has no length")


def _position(index: Value, length: int) -> int:
    if isinstance(index, bool) or not isinstance(index, int):
        raise TemplateError(f"{describe(index)} cannot be an index")
    if not 0 <= index <= length:
        raise TemplateError(f"index {index} is out of range: the length is {length}")
    return int(index)


def _index(item: Value, *indexes: Value) -> Value:
    if item is NOTHING:
        raise TemplateError("nil cannot be indexed")
    for index in indexes:
        item = _element(item, index)
    return item


def _element(item: Value, index: Value) -> Value:
    match item:
        case str():
            data = to_bytes(item)
            at = _position(index, len(data) - 1)
            return Byte(data[at])
        case Items(ListOf(element), values):
            return adopt(values[_position(index, len(values) - 1)], element)
        case Entries(MapOf(of), values):
            if not isinstance(index, str):
                raise TemplateError(f"{describe(index)} cannot be a key")
            return adopt(values[index], of) if index in values else zero(of)
    raise TemplateError(f"{describe(item)} cannot be indexed")


def _slice(item: Value, *indexes: Value) -> Value:
    match item:
        case str():
            data = to_bytes(item)
            start, end = _bounds(indexes, len(data), 2)
            return to_text(data[start:end])
        case Items(of, values):
            start, end = _bounds(indexes, len(values), 3)
            return Items(of, values[start:end])
    raise TemplateError(f"{describe(item)} cannot be sliced")


def _bounds(indexes: tuple[Value, ...], length: int, most: int) -> tuple[int, int]:
    if len(indexes) > most:
        raise TemplateError(f"slice takes at most {most} indexes here")
    positions = [_position(index, length) for index in indexes]
    ordered = [0, length] if not positions else [*positions, length][: max(2, len(positions))]
    if sorted(ordered) != ordered:
        raise TemplateError(f"slice indexes {positions} are not in order")
    return ordered[0], ordered[1]


# Comparison


def comparable(left: Type | None, right: Type | None) -> bool:
    """Tell whether ``eq`` takes two types together; None stands for nil."""
    if left is None or right is None:
        return True
    one, other = ordering_of(left), ordering_of(right)
    if one is other is None:
        # Two pointers compare by identity; slices and maps compare with nil alone.
        return isinstance(left, Object) and isinstance(right, Object)
    return one is other or {one, other} == {Ordering.SIGNED, Ordering.UNSIGNED}


def ordered(left: Type | None, right: Type | None) -> bool:
    """Tell whether ``lt``, ``le``, ``gt``, ``ge`` take two types together."""
    if left is None or right is None or ordering_of(left) in (None, Ordering.BOOL):
        return False
    return ordering_of(right) is not None and comparable(left, right)


def _equal(first: Value, *others: Value) -> bool:
    if not others:
        raise TemplateError("eq needs something to compare with")
    for other in others:
        if not comparable(type_of(first), type_of(other)):
            raise _unlike(first, other)
        if _same(first, other):
            return True
    return False


def _same(left: Value, right: Value) -> bool:
    if ordering_of(type_of(left)) is None or ordering_of(type_of(right)) is None:
        nils = [value is NOTHING or _is_nil(value) for value in (left, right)]
        if any(nils):
            return all(nils)
        return _is_same_object(left, right)
    return left == right


def _is_nil(value: Value) -> bool:
    return isinstance(value, Pointer) and value.target is None


def _is_same_object(left: Value, right: Value) -> bool:
    return (
        isinstance(left, Pointer)
        and isinstance(right, Pointer)
        and left.type is right.type
        and left.target is right.target
    )


def _not_equal(left: Value, right: Value) -> bool:
    return not _equal(left, right)


def _less(left: Value, right: Value) -> bool:
    if not ordered(type_of(left), type_of(right)):
        raise _unlike(left, right)
    if isinstance(left, str) and isinstance(right, str):
        return to_bytes(left) < to_bytes(right)
    return left < right  # type: ignore[operator]  # both are numbers here


def _less_or_equal(left: Value, right: Value) -> bool:
    return _less(left, right) or _equal(left, right)


def _greater(left: Value, right: Value) -> bool:
    return not _less_or_equal(left, right)


def _greater_or_equal(left: Value, right: Value) -> bool:
    return not _less(left, right)


def _unlike(left: Value, right: Value) -> TemplateError:
    return TemplateError(f"{describe(left)} and {describe(right)} cannot be compared")


# Text


def _print(*values: Value) -> str:
    return sprint(values)


def _printf(template: str, *values: Value) -> str:
    return sprintf(template, values)


def _println(*values: Value) -> str:
    return sprintln(values)


def _shown(values: tuple[Value, ...]) -> str:
    """Put values together as an action prints them."""
    return sprint(["<no value>" if value is NOTHING else value for value in values])


_HTML: Final = str.maketrans(
    {
        "\0": "\ufffd",
        '"': "&#34;",
        "'": "&#39;",
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
    }
)


def _html(*values: Value) -> str:
    return _shown(values).translate(_HTML)


def _js(*values: Value) -> str:
    return "".join(map(_js_escaped, _shown(values)))


def _js_escaped(character: str) -> str:
    if character in "\\'\"":
        return "\\" + character
    # A surrogate is a byte that is no UTF-8: it passes as it is.
    if character in "<>&=" or not (character.isprintable() or "\ud800" <= character <= "\udfff"):
        # DEL is not among the control characters that Go escapes here.
        return character if character == "\x7f" else f"\\u{ord(character):04X}"
    return character


_UNRESERVED: Final = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~"
)


def _url_query(*values: Value) -> str:
    return "".join(
        chr(byte) if byte in _UNRESERVED else "+" if byte == ord(" ") else f"%{byte:02X}"
        for byte in to_bytes(_shown(values))
    )


def _call(value: Value, *_: Value) -> Value:
    raise TemplateError(f"call needs a function, and {describe(value)} is none")


def _equals_or_default(wanted: str, instead: str, value: str) -> str:
    """SkyWalking Rover's own (0.7): put another text in the place of one."""
    return instead if value == wanted else value


def show(value: Value) -> str:
    """Print a value as an action does."""
    if type(value) is str and value.isascii():
        return value
    return "<no value>" if value is NOTHING else joined(format_value(value, PLAIN))


_ANY: Final = (Basic.ANY,)
_PAIR: Final = (Basic.ANY, Basic.ANY)

FUNCTIONS: Final = {
    "call": Signature(_call, None, _ANY, variadic=True),
    "eq": Signature(_equal, Basic.BOOL, _ANY, variadic=True),
    "equalsOrDefault": Signature(
        _equals_or_default, Basic.TEXT, (Basic.TEXT, Basic.TEXT, Basic.TEXT)
    ),
    "ge": Signature(_greater_or_equal, Basic.BOOL, _PAIR),
    "gt": Signature(_greater, Basic.BOOL, _PAIR),
    "html": Signature(_html, Basic.TEXT, variadic=True),
    "index": Signature(_index, None, _ANY, variadic=True),
    "js": Signature(_js, Basic.TEXT, variadic=True),
    "le": Signature(_less_or_equal, Basic.BOOL, _PAIR),
    "len": Signature(_length, Basic.INT, _ANY),
    "lt": Signature(_less, Basic.BOOL, _PAIR),
    "ne": Signature(_not_equal, Basic.BOOL, _PAIR),
    "not": Signature(_not, Basic.BOOL, _ANY),
    "print": Signature(_print, Basic.TEXT, variadic=True),
    "printf": Signature(_printf, Basic.TEXT, (Basic.TEXT,), variadic=True),
    "println": Signature(_println, Basic.TEXT, variadic=True),
    "slice": Signature(_slice, None, _ANY, variadic=True),
    "urlquery": Signature(_url_query, Basic.TEXT, variadic=True),
}
DECIDING: Final = frozenset({"and", "or"})
"""Functions that stop at the first argument that decides."""
NAMES: Final = frozenset(FUNCTIONS) | DECIDING
