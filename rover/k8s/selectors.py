"""Label selectors as text, ``app=web,tier in (front, edge),!canary``.

The grammar and what matches are those of Kubernetes (k8s.io/apimachinery ``labels.Parse``), with
set-based and equality-based requirements, existence, and the numeric ``>`` and ``<``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_TOKEN: Final = re.compile(r"[ \t\r\n]*(?:(==|!=|[=!(),<>])|([^ \t\r\n=!(),<>]+))")
_BLANKS: Final = " \t\r\n"

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_PREFIX: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_MAX_PREFIX: Final = 253
_INT64: Final = range(-(2**63), 2**63)
_INTEGER: Final = re.compile(r"[+-]?[0-9]+", re.ASCII)


class SelectorError(ValueError):
    """The text is no selector."""


class Operator(Enum):
    """How a label is compared."""

    IN = "in"
    NOT_IN = "notin"
    EXISTS = "exists"
    MISSING = "!"
    GREATER = ">"
    LESS = "<"


_SIGNS: Final = {
    "=": Operator.IN,
    "==": Operator.IN,
    "!=": Operator.NOT_IN,
    ">": Operator.GREATER,
    "<": Operator.LESS,
}


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether labels meet it; a label that is not there is in no set."""
        value = labels.get(self.key)
        match self.operator:
            case Operator.IN:
                return value in self.values
            case Operator.NOT_IN:
                return value not in self.values
            case Operator.EXISTS:
                return value is not None
            case Operator.MISSING:
                return value is None
        number, (bound,) = _int64(value or ""), self.values
        if number is None:
            return False
        return number > int(bound) if self.operator is Operator.GREATER else number < int(bound)


@dataclass(frozen=True, slots=True)
class Selector:
    """Requirements that must all hold; without any, everything matches."""

    requirements: tuple[Requirement, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether labels meet all requirements."""
        return all(requirement.matches(labels) for requirement in self.requirements)


@lru_cache(maxsize=256)
def parse_selector(text: str) -> Selector:
    """Parse a selector.

    Raises:
        SelectorError: the grammar, or a key or value, is not Kubernetes'.
    """
    tokens = _Tokens(text)
    requirements: list[Requirement] = []
    while tokens.peek():
        requirements.append(_requirement(tokens))
        if not tokens.peek():
            break
        tokens.expect(",")
        if not (tokens.is_word() or tokens.peek() == "!"):
            raise tokens.error("a label's name after ','")
    return Selector(tuple(requirements))


class _Tokens:
    """Signs and words of a selector, one ahead."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._sign, self._word = "", ""
        self._advance()

    def peek(self) -> str:
        """Return the next token, "" at the end."""
        return self._sign or self._word

    def is_word(self) -> bool:
        return bool(self._word)

    def take(self) -> str:
        token = self.peek()
        self._advance()
        return token

    def word(self, expected: str) -> str:
        if not self._word:
            raise self.error(expected)
        return self.take()

    def expect(self, sign: str) -> None:
        if self._sign != sign:
            raise self.error(f"'{sign}'")
        self._advance()

    def error(self, expected: str) -> SelectorError:
        found = f"'{self.peek()}'" if self.peek() else "its end"
        return SelectorError(f"label selector {self._text!r}: found {found}, expected {expected}")

    def _advance(self) -> None:
        match = _TOKEN.match(self._text, self._at)
        self._sign, self._word = (match[1] or "", match[2] or "") if match else ("", "")
        self._at = match.end() if match else len(self._text)


def _requirement(tokens: _Tokens) -> Requirement:
    missing = tokens.peek() == "!"
    if missing:
        tokens.take()
    key = tokens.word("a label's name")
    _check_key(key)
    if missing:
        return Requirement(key, Operator.MISSING)
    if tokens.peek() in {"", ","}:
        return Requirement(key, Operator.EXISTS)
    sign = tokens.take()
    if sign in {"in", "notin"}:
        return Requirement(key, Operator(sign), _values(tokens))
    operator = _SIGNS.get(sign)
    if operator is None:
        raise SelectorError(
            f"label selector: found '{sign}' after '{key}', expected one of "
            "'=', '==', '!=', '>', '<', 'in', 'notin'"
        )
    value = "" if tokens.peek() in {"", ","} else tokens.word("a value")
    if operator in {Operator.GREATER, Operator.LESS} and _int64(value) is None:
        raise SelectorError(f"label selector: '{sign}' needs a whole number, not {value!r}")
    _check_value(value)
    return Requirement(key, operator, frozenset({value}))


def _values(tokens: _Tokens) -> frozenset[str]:
    """Read ``(a, b)``; a comma without a word beside it stands for the empty value."""
    tokens.expect("(")
    if tokens.peek() == ")":
        raise SelectorError("label selector: 'in' and 'notin' need at least one value")
    values = {"" if tokens.peek() in {",", ")"} else tokens.word("a value")}
    while tokens.peek() == ",":
        tokens.take()
        values.add("" if tokens.peek() in {",", ")"} else tokens.word("a value"))
    tokens.expect(")")
    for value in values:
        _check_value(value)
    return frozenset(values)


def _check_key(key: str) -> None:
    prefix, slash, name = key.rpartition("/")
    fits = _NAME.fullmatch(name) is not None
    if slash:
        fits = fits and len(prefix) <= _MAX_PREFIX and _PREFIX.fullmatch(prefix) is not None
    if not fits:
        raise SelectorError(f"label selector: {key!r} is no name of a label")


def _check_value(value: str) -> None:
    if value and not _NAME.fullmatch(value):
        raise SelectorError(f"label selector: {value!r} is no value of a label")


def _int64(text: str) -> int | None:
    """Read a number as Go's ParseInt does in base 10."""
    if not _INTEGER.fullmatch(text) or len(text) > 20:  # noqa: PLR2004 - digits of an int64 and its sign
        return None
    number = int(text)
    return number if number in _INT64 else None
