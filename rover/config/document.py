"""What a configuration file holds, as text with line numbers: nothing is constructed or guessed.

Types are the keys' business, so a scalar stays the text that stands in the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value."""

    line: int
    """1-based, as of all nodes."""
    text: str
    plain: bool
    """Not quoted, so that ``yes`` may mean true."""

    @property
    def is_null(self) -> bool:
        """Whether there is nothing but the key."""
        return self.plain and self.text in _NULLS


@dataclass(frozen=True, slots=True)
class Entry:
    """A key of a mapping, as written, and its value."""

    line: int
    key: str
    value: Node


@dataclass(frozen=True, slots=True)
class Section:
    """A mapping; keys are told apart without regard to case, as viper has it."""

    line: int
    entries: Mapping[str, Entry]
    """By lower-case key."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    line: int
    items: tuple[Node, ...]


Node: TypeAlias = "Scalar | Section | Sequence"
