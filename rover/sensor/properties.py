"""Java's properties format, for files that anybody may have written: in linear time, bounded.

Source: java.util.Properties.load.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_LINES: Final = 4_096
"""Natural lines; a language agent writes eight."""
_LINE: Final = re.compile(r"\r\n|\n|\r")
_ENTRY: Final = re.compile(r"((?:[^\\:= \t\f]|\\.)*+)[ \t\f]*+(?:[:=][ \t\f]*+)?(.*)", re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(u[0-9a-fA-F]{4}|.|$)", re.DOTALL)
_LETTERS: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_BLANKS: Final = " \t\f"


def entries(text: str) -> Iterator[tuple[str, str, str]]:
    """Give each key with its value, and the value as it was written.

    Raises:
        ValueError: an escape is none, or there are too many lines.
    """
    for line in _logical_lines(text):
        found = _ENTRY.match(line)
        if found:
            yield _unescaped(found[1]), _unescaped(found[2]), found[2]


def _logical_lines(text: str) -> Iterator[str]:
    lines = _LINE.split(text, MAX_LINES)
    if len(lines) > MAX_LINES:
        raise ValueError(f"more than {MAX_LINES} lines")
    parts: list[str] = []
    for natural in lines:
        line = natural.lstrip(_BLANKS)
        if not parts and (not line or line[0] in "#!"):
            continue
        slashes = len(line) - len(line.rstrip("\\"))
        if slashes % 2:
            parts.append(line[:-1])
            continue
        yield "".join((*parts, line))
        parts = []
    if parts:
        yield "".join(parts)


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(_meant, text) if "\\" in text else text


def _meant(escape: re.Match[str]) -> str:
    letter = escape[1]
    if len(letter) > 1:
        return chr(int(letter[1:], 16))
    if letter == "u":
        raise ValueError("an escape \\u without four digits")
    return _LETTERS.get(letter, letter)
