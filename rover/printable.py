"""What others wrote, made fit to be shown to people: on terminals and on the status page."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

REPLACED: Final = "\ufffd"
MOST_MARKS: Final = 8
"""Marks on one letter: scripts have up to four, and hundreds would climb over the lines above."""
_UNCLEAR: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0\U000e0100-\U000e01ef"
    "\U0001f1e6-\U0001f1ff]"
)
"""What Python takes for printable, and nobody sees (Unicode's Default_Ignorable_Code_Point): two
names that differ by it would look the same. And the letters of flags, whose width differs by
terminal."""
_VARIANTS: Final = re.compile("[\ufe00-\ufe0f\U0001f3fb-\U0001f3ff]")
"""They say how the picture before them is drawn, and in some terminals make it wider."""


def printable(text: str) -> str:
    """Replace what would move a terminal's cursor, turn its direction, end a line or not be seen.

    What says how the picture before it is drawn is left out.
    """
    if text.isascii() and text.isprintable():
        return text
    text = _UNCLEAR.sub(REPLACED, _VARIANTS.sub("", text))
    return "".join(_few_marks(one if one.isprintable() else REPLACED for one in text))


def _few_marks(letters: Iterator[str]) -> Iterator[str]:
    marks = 0
    for letter in letters:
        marks = marks + 1 if unicodedata.category(letter) in {"Mn", "Me"} else 0
        if marks <= MOST_MARKS:
            yield letter
