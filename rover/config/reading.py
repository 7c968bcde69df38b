"""Text becomes the value of a key, by the key's kind."""

from __future__ import annotations

import re
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, Final

from rover.config.address import endpoints, host_name, listener
from rover.config.patterns import Pattern, compile_pattern
from rover.config.scalars import format_duration, parse_boolean, parse_count, parse_duration
from rover.config.settings import Key, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from rover.config.origin import Given

MAX_ITEMS: Final = 200
"""Of any list in a configuration."""
_MAX_TEXT: Final = 4096
_LONGEST: Final = 7 * 24 * 3600.0
"""Seconds of any duration: what is to happen less than once a week is a slip of the unit."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_QUOTED: Final = re.compile(r"""(["'])([^"'\\]*)\1""")
_LEVELS: Final = {"WARNING": "WARN", "TRACE": "DEBUG", "FATAL": "ERROR", "PANIC": "ERROR"}
"""Names of SkyWalking Rover's log levels that this agent has under another name."""


def read_value(key: Key, given: Given, default: object) -> object:
    """Read one value; templates and filters are not read here.

    Args:
        key: What the value is for.
        given: What stands there.
        default: The key's default: an enumeration's member asks for its kind.

    Raises:
        ValueError: The text is not of the key's kind; the message is the advice.
    """
    if given.items is not None and key.kind not in (Kind.WORDS, Kind.HOSTS, Kind.PATTERNS):
        raise ValueError("there must be one value, not a list")
    match key.kind:
        case Kind.WORDS:
            value: object = _words(given)
        case Kind.HOSTS:
            value = tuple(host_name(word) for word in _words(given))
        case Kind.PATTERNS:
            value = tuple(_pattern(text) for text in _texts(given, "\n"))
        case Kind.PATTERN:
            value = compile_pattern(given.text)
        case Kind.FLAG:
            value = parse_boolean(plain_text(given), yaml=given.plain)
        case Kind.COUNT:
            value = _within(key, parse_count(plain_text(given)))
        case Kind.SECONDS:
            value = _duration(key, parse_duration(plain_text(given)))
        case Kind.CHOICE:
            choice = _choice(key, plain_text(given))
            value = type(default)(choice) if isinstance(default, Enum) else choice
        case _:
            value = _text(key, given)
    return value


def _text(key: Key, given: Given) -> str:
    """Keep a text as it stands; an address must be one that can be parsed where it is used."""
    text = plain_text(given)
    if given.is_default and text == key.placeholder:
        text = ""
    if key.needed and not text:
        raise ValueError("is empty; give it, or leave the key out")
    if key.kind is Kind.ENDPOINTS:
        endpoints(text)
    if key.kind is Kind.LISTENER and text:
        listener(text)
    return text


def plain_text(given: Given) -> str:
    """Give the text without the blanks and, in a ``${...}``'s default, the quotes around it.

    Rover's files write ``${ROVER_BACKEND_AUTHENTICATION:""}`` where they mean nothing at all.

    Raises:
        ValueError: It is too long, or holds what is no text.
    """
    text = given.text.strip()
    if given.is_default and (match := _QUOTED.fullmatch(text)):
        text = match[2]
    if len(text) > _MAX_TEXT:
        raise ValueError(f"it is longer than {_MAX_TEXT} characters")
    if _CONTROL.search(text) or not _is_utf8(text):
        raise ValueError("it holds control characters or bytes that are no text")
    return text


def _is_utf8(text: str) -> bool:
    # Bytes of the environment that are no UTF-8 come as surrogates.
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _texts(given: Given, separator: str) -> list[str]:
    """Split a value into its items; the file may hold a list as well."""
    if given.items is None:
        texts = given.text.split(separator)
    else:
        texts = [item.text for item in given.items]
    texts = [text.strip() for text in texts]
    texts = [text for text in texts if text]
    if len(texts) > MAX_ITEMS:
        raise ValueError(f"more than {MAX_ITEMS} items")
    return texts


def _pattern(text: str) -> Pattern:
    try:
        return compile_pattern(text)
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from error


def _words(given: Given) -> tuple[str, ...]:
    if given.items is None:
        return tuple(_texts(replace(given, text=plain_text(given)), ","))
    return tuple(word for word in map(plain_text, given.items) if word)


def _duration(key: Key, seconds: float) -> float:
    most = _LONGEST if key.maximum is None else key.maximum
    if seconds > most:
        raise ValueError(f"it must be at most {format_duration(most)}")
    return _within(key, seconds, format_duration)


def _within(
    key: Key, number: float, told: Callable[[float], str] = lambda number: f"{number:g}"
) -> float:
    if key.minimum is not None and number < key.minimum:
        raise ValueError(f"it must be at least {told(key.minimum)}")
    return number


def _choice(key: Key, text: str) -> str:
    word = text.upper()
    word = _LEVELS.get(word, word)
    choices = {choice.upper(): choice for choice in key.choices}
    if word not in choices:
        raise ValueError(f"write one of {', '.join(key.choices)}")
    return choices[word]
