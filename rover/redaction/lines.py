"""A command line in one text, as a title or an argument of ``sh -c`` has it: words and blanks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

BLANKS: Final = re.compile(r"(\s+)", re.ASCII)

_QUOTE: Final = re.compile(r"\\.|[\"']", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a line, without the quotes that stand around all of it."""

    text: str
    quote: str = ""

    def around(self, text: str) -> str:
        """Put the quotes around what takes the word's place."""
        return f"{self.quote}{text}{self.quote}"


def word_of(written: str) -> Word:
    """Take off the quotes around a word."""
    if len(written) > 1 and written[0] in "\"'" and written[-1] == written[0]:
        return Word(written[1:-1], written[0])
    return Word(written)


def pieces_of(line: str) -> list[str]:
    """Part a line at blanks outside of quotes: words at even places, blanks at odd ones."""
    pieces = BLANKS.split(line)
    parted = [pieces[0]]
    opened = _left_open(pieces[0], "")
    for blanks, word in zip(pieces[1::2], pieces[2::2], strict=True):
        if opened:
            parted[-1] += blanks + word
        else:
            parted += [blanks, word]
        opened = _left_open(word, opened)
    return parted


def _left_open(word: str, opened: str) -> str:
    """Tell which quote is open behind a word; `opened` was before it."""
    for match in _QUOTE.finditer(word):
        sign = match[0]
        if sign == opened:
            opened = ""
        elif not opened and len(sign) == 1:
            opened = sign
    return opened
