"""Where a value comes from, and the value before it is read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final


class Source(Enum):
    """What can set a key, strongest first."""

    FLAG = "flag"
    ENV = "env"
    FILE = "file"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from."""

    source: Source = Source.DEFAULT
    name: str = ""
    """The variable, or the file."""
    line: int = 0
    """1-based line of the file."""
    variables: tuple[str, ...] = ()
    """Variables whose values stand in the file's place of them."""

    def __str__(self) -> str:
        match self.source:
            case Source.ENV:
                return f"env {self.name}"
            case Source.FILE:
                taken = f" with {', '.join(self.variables)}" if self.variables else ""
                return f"{self.name}:{self.line}{taken}"
        return str(self.source.value)

    @property
    def place(self) -> str:
        """Where to look for an error."""
        return self.name if self.source is Source.ENV else str(self)


DEFAULT = Origin()

STDIN: Final = Path("-")
"""Stands for standard input, as for most commands."""


def file_name(path: Path) -> str:
    """Name a file in messages."""
    return "standard input" if path == STDIN else str(path)


@dataclass(frozen=True, slots=True)
class Given:
    """What stands for a key somewhere."""

    text: str
    origin: Origin = DEFAULT
    plain: bool = False
    """Unquoted in a YAML file."""
    is_default: bool = False
    """The default of a ``${NAME:default}`` in a file."""
    items: tuple[Given, ...] | None = None
    """Set where the file has a list; the text is empty then."""
