"""``${NAME:default}`` in the values of a file, as SkyWalking Rover has it and a little beyond.

Rover replaces the whole value by what one ``${...}`` in it stands for. Here the text around it
stays, one value may hold several, and a default may hold others. What Rover's own files hold comes
out the same: a variable that is unset or empty leaves the default, which may hold colons, braces
and templates; without a colon nothing is replaced.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_OPEN: Final = re.compile(r"\$\{([_A-Z0-9]+):")
_NO_DEFAULT: Final = re.compile(r"\$\{([_A-Z0-9]+)\}")
_MAX_DEPTH: Final = 8


@dataclass(frozen=True, slots=True)
class Expanded:
    """A value with its variables replaced."""

    text: str
    variables: tuple[str, ...] = ()
    """Those that are set, so that the text comes from them."""
    is_default: bool = False
    """The whole value is one ``${...}`` whose variable is not set."""
    without_default: tuple[str, ...] = ()
    """Names in ``${NAME}``, which nobody replaces."""


def expand(text: str, environment: Mapping[str, str]) -> Expanded:
    """Replace the variables in a value."""
    if "${" not in text:
        return Expanded(text)
    variables: list[str] = []
    result = _expand(text, environment, variables, _MAX_DEPTH)
    match = _OPEN.match(text)
    whole = match is not None and _end(text, match.end()) == len(text) - 1
    return Expanded(
        result,
        tuple(variables),
        is_default=whole and not variables,
        without_default=tuple(_NO_DEFAULT.findall(text)),
    )


def _expand(text: str, environment: Mapping[str, str], variables: list[str], depth: int) -> str:
    pieces: list[str] = []
    at = 0
    while depth and (match := _OPEN.search(text, at)):
        end = _end(text, match.end())
        if end is None:
            break
        pieces.append(text[at : match.start()])
        name = match[1]
        if value := environment.get(name):
            variables.append(name)
            pieces.append(value)
        else:
            pieces.append(_expand(text[match.end() : end], environment, variables, depth - 1))
        at = end + 1
    pieces.append(text[at:])
    return "".join(pieces)


def _end(text: str, start: int) -> int | None:
    """Find the brace that ends a default.

    It is the one that balances the opening brace. Where the text after that one does not balance
    on its own, the default was cut short: then it goes up to the last brace, as Rover takes it.
    """
    end = _unmatched(text, start)
    if end is None or _unmatched(text, end + 1) is not None:
        last = text.rfind("}", start)
        return last if last >= 0 else None
    return end


def _unmatched(text: str, start: int) -> int | None:
    """Find the first closing brace without an opening one, quoted text in templates left out."""
    depth = 0
    at = start
    while at < len(text):
        character = text[at]
        if character == "{":
            depth += 1
        elif character == "}":
            if not depth:
                return at
            depth -= 1
        elif depth > 1 and character in '"`':
            at = _quote_end(text, at)
        at += 1
    return None


def _quote_end(text: str, at: int) -> int:
    """Find the quote that ends the one at a position, or stay there where none does."""
    quote = text[at]
    end = at + 1
    while end < len(text) and text[end] != quote:
        end += 2 if text[end] == "\\" and quote == '"' else 1
    return end if end < len(text) else at
