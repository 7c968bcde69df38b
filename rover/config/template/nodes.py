"""The parts of a parsed template. `at` is a 0-based position in the source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Dot:
    """``.``."""

    at: int


@dataclass(frozen=True, slots=True)
class Nil:
    """``nil``."""

    at: int


@dataclass(frozen=True, slots=True)
class Bool:
    """``true`` or ``false``."""

    at: int
    value: bool


@dataclass(frozen=True, slots=True)
class String:
    """A string constant, its quotes and escapes undone."""

    at: int
    value: str


@dataclass(frozen=True, slots=True)
class Number:
    """A number or character constant, as each type that can hold it."""

    at: int
    source: str
    integer: int | None
    """As int64."""
    ideal: int | float | None
    """As it counts where no type is asked for; None where that would overflow Go's int."""


@dataclass(frozen=True, slots=True)
class Field:
    """``.Name.Name``."""

    at: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """``$name.Name``; the name of ``$`` itself is ``$``."""

    at: int
    name: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Function:
    """A function by name."""

    at: int
    name: str


@dataclass(frozen=True, slots=True)
class Chain:
    """``(pipeline).Name``, or a function's name in front of the dot."""

    at: int
    head: Pipe | Function
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Command:
    """One stage of a pipeline."""

    at: int
    head: Operand
    arguments: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class Pipe:
    """Commands joined by ``|``, and the variables that take the result."""

    at: int
    commands: tuple[Command, ...]
    variables: tuple[str, ...] = ()
    assigns: bool = False
    """``=`` rather than ``:=``."""


@dataclass(frozen=True, slots=True)
class Text:
    """What stands outside of actions."""

    at: int
    text: str


@dataclass(frozen=True, slots=True)
class Action:
    """A pipeline whose value is printed unless variables take it."""

    at: int
    pipe: Pipe


@dataclass(frozen=True, slots=True)
class Branch:
    """``if`` with all its ``else if``, or ``with`` with all its ``else with``."""

    at: int
    arms: tuple[tuple[Pipe, Body], ...]
    otherwise: Body
    moves_dot: bool
    """True for ``with``."""


@dataclass(frozen=True, slots=True)
class Range:
    """``range``."""

    at: int
    pipe: Pipe
    body: Body
    otherwise: Body


@dataclass(frozen=True, slots=True)
class Jump:
    """``break`` or ``continue``."""

    at: int
    leaves: bool
    """True for ``break``."""


Operand: TypeAlias = (
    "Dot | Nil | Bool | String | Number | Field | Variable | Function | Chain | Pipe"
)
Node: TypeAlias = "Text | Action | Branch | Range | Jump"
Body: TypeAlias = "tuple[Node, ...]"
