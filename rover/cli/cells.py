"""How much room text takes on a terminal: a letter takes no cell, one, or two.

Letters of East Asia and pictures are two cells wide, marks that stand on other letters none. Text
is `printable` before it is measured.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rich.cells import get_character_cell_size

from rover.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

CUT: Final = "…"
"""Stands where something is left out."""
LEAST: Final = 4
"""Cells that a line is taken to have at least."""
_WORDS: Final = re.compile(r"( *)([^ ]+)")
_CRAMPED: Final = 20
"""Cells beside a label below which its text begins on a line of its own."""
_STEP: Final = 2
"""Blanks before it there."""


def cell_count(text: str) -> int:
    """Return how many cells a printable text takes."""
    return len(text) if text.isascii() else sum(map(get_character_cell_size, text))


def cut(text: str, room: int) -> str:
    """Shorten a printable text to so many cells, 1 at least; `CUT` shows that it was."""
    return text if cell_count(text) <= room else _divided(text, room - 1)[0] + CUT


def padded(text: str, room: int) -> str:
    """Shorten or fill up a printable text to exactly so many cells, 1 at least."""
    shown = cut(text, room)
    return shown + " " * (room - cell_count(shown))


def filled(begin: str, text: str, width: int, hanging: int) -> list[str]:
    """Break a text into lines at blanks; a word that no line holds, where it must be.

    Args:
        begin: stands before the first line; without escapes, which have no width.
        text: anybody's.
        width: cells that a line may have, 0 for any number.
        hanging: blanks before each further line.
    """
    begin, text = printable(begin), printable(text)
    if not width:
        return [f"{begin}{text}".rstrip()]
    width = max(width, LEAST)
    lines: list[str] = []
    label = begin.strip()
    is_cramped = width - max(hanging, cell_count(begin)) < _CRAMPED
    if is_cramped and not (label and cell_count(begin + text) <= width):
        lines += [cut(label, width)] if label else []
        begin, hanging = (" " * _STEP if begin else ""), _STEP
    line, indent, is_begun = begin, " " * hanging, False
    for gap, word in _WORDS.findall(text):
        if cell_count(line + gap + word) <= width:
            line += gap + word
        elif is_begun and hanging + cell_count(word) <= width:
            lines.append(line)
            line = indent + word
        else:
            first, *others = _pieces(word, width - cell_count(line + gap), width - hanging)
            *whole, line = [f"{line}{gap}{first}", *(indent + each for each in others)]
            lines += whole
        is_begun = True
    return [each.rstrip() for each in (*lines, line)]


def _pieces(word: str, room: int, further: int) -> Iterator[str]:
    """Divide a word into what a first line and further ones have room for."""
    while word:
        piece, word = _divided(word, room)
        yield piece
        room = further


def _divided(text: str, room: int) -> tuple[str, str]:
    """Divide a text after as many letters, each with its marks, as so many cells have room for."""
    taken = 0
    for at, letter in enumerate(text):
        taken += get_character_cell_size(letter)
        if taken > room:
            return text[:at], text[at:]
    return text, ""
