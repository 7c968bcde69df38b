"""Keeps once what many processes share: paths, names, cgroups, users, namespaces."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rover.model import Place

MOST: Final = 1_024
"""Of each kind that are kept as one object each: enough for what many processes share. The
interpreter's own table of strings has no bound, and takes 100 bytes for each."""
ROOM: Final = 1_048_576
"""Bytes that texts may take: the table of processes keeps them longer than their processes live."""


class Shared:
    """Gives the one object for what is equal, among those seen lately; of one thread."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._texts: dict[str, str] = {}
        self._room = 0
        self._numbers: dict[int, int] = {}
        self._places: dict[Place, Place] = {}

    def text(self, text: str) -> str:
        """Give the one object for a name or a path."""
        if len(self._texts) >= MOST or self._room > ROOM:
            self._texts.clear()
            self._room = 0
        shared = self._texts.setdefault(text, text)
        if shared is text:
            self._room += sys.getsizeof(text)
        return shared

    def number(self, number: int) -> int:
        """Give the one object for a parent, a user or an inode."""
        if len(self._numbers) >= MOST:
            self._numbers.clear()
        return self._numbers.setdefault(number, number)

    def place(self, place: Place) -> Place:
        """Give the one object for where language agents keep their files."""
        if len(self._places) >= MOST:
            self._places.clear()
        return self._places.setdefault(place, place)
