"""What the server stores of a text, and text cut to it.

Above a limit the server answers OK and drops the whole row in silence when it flushes, so every
text is cut before it is sent. Lengths are UTF-16 units; properties and labels count as the JSON
that the server makes of them (OAP 10.1, Gson with HTML escapes).
"""

from __future__ import annotations

import re
from typing import Final

from rover.model import LABEL_LIMIT, LABELS_LIMIT, NAME_LIMIT, utf16_prefix

KEPT_FOR_OTHERS: Final = 2_000
"""Units left free: the server merges properties by key, so those of an earlier report stay."""

ESCAPED: Final = re.compile("[\0-\x1f\"\\\\<>&='\u2028\u2029]")
"""Characters that Gson writes as an escape, of at most six units."""
ESCAPE_UNITS: Final = 6
SURROGATES: Final = re.compile("[\ud800-\udfff]")
PAIR_UNITS: Final = len('"":"",')
BRACES: Final = len("{}")


def clean(text: str) -> str:
    """Replace what UTF-8 cannot carry (lone surrogates) by U+FFFD; the server fails on it."""
    return text if text.isascii() else SURROGATES.sub("\ufffd", text)


def name(text: str) -> str:
    """Make a service, instance or process name storable."""
    if len(text) <= NAME_LIMIT and text.isascii():
        return text
    return clean(utf16_prefix(text, NAME_LIMIT))


def labels(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Cut each label, and leave out those that no longer fit into the list."""
    kept: list[str] = []
    left = LABELS_LIMIT - BRACES
    for text in texts:
        label = clean(utf16_prefix(text, LABEL_LIMIT))
        left -= json_units(label) + len('"",')
        if left < 0:
            break
        kept.append(label)
    return tuple(kept)


def json_units(text: str) -> int:
    """Give the most units that the text can take inside a JSON string."""
    units = len(text) + (ESCAPE_UNITS - 1) * len(ESCAPED.findall(text))
    if not text.isascii():
        units += sum(character > "\uffff" for character in text)
    return units


def json_prefix(text: str, units: int) -> str:
    """Cut text so that it takes at most so many units inside a JSON string."""
    if len(text) * ESCAPE_UNITS <= units:
        return text
    text = text[: max(units, 0)]
    if json_units(text) <= units:
        return text
    fits, too_long = 0, len(text)
    while fits + 1 < too_long:
        middle = (fits + too_long) // 2
        if json_units(text[:middle]) <= units:
            fits = middle
        else:
            too_long = middle
    return text[:fits]


def pair_units(key: str, value: str) -> int:
    """Units that one property takes in the object."""
    return json_units(key) + json_units(value) + PAIR_UNITS
