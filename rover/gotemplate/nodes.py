"""The parts of a parsed template. `at` is a 0-based position in the source.

Named tuples, not dataclasses: each of those would cost the agent 9 KB more.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias


class Dot(NamedTuple):
    """``.``."""

    at: int


class Nil(NamedTuple):
    """``nil``."""

    at: int


class Bool(NamedTuple):
    """``true`` or ``false``."""

    at: int
    value: bool


class String(NamedTuple):
    """A string constant, its quotes and escapes undone."""

    at: int
    value: str


class Number(NamedTuple):
    """A number or character constant, as each type that can hold it."""

    at: int
    source: str
    integer: int | None
    """As int64."""
    ideal: int | float | None
    """As it counts where no type is asked for; None where that would overflow Go's int."""


class Field(NamedTuple):
    """``.Name.Name``."""

    at: int
    names: tuple[str, ...]


class Variable(NamedTuple):
    """``$name.Name``; the name of ``$`` itself is ``$``."""

    at: int
    name: str
    names: tuple[str, ...]


class Function(NamedTuple):
    """A function by name."""

    at: int
    name: str


class Chain(NamedTuple):
    """``(pipeline).Name``, or a function's name in front of the dot."""

    at: int
    head: Pipe | Function
    names: tuple[str, ...]


class Command(NamedTuple):
    """One stage of a pipeline."""

    at: int
    head: Operand
    arguments: tuple[Operand, ...]


class Pipe(NamedTuple):
    """Commands joined by ``|``, and the variables that take the result."""

    at: int
    commands: tuple[Command, ...]
    variables: tuple[str, ...] = ()
    assigns: bool = False
    """``=`` rather than ``:=``."""


class Text(NamedTuple):
    """What stands outside of actions."""

    at: int
    text: str


class Action(NamedTuple):
    """A pipeline whose value is printed unless variables take it."""

    at: int
    pipe: Pipe


class Branch(NamedTuple):
    """``if`` with all its ``else if``, or ``with`` with all its ``else with``."""

    at: int
    arms: tuple[tuple[Pipe, Body], ...]
    otherwise: Body
    moves_dot: bool
    """True for ``with``."""


class Range(NamedTuple):
    """``range``."""

    at: int
    pipe: Pipe
    body: Body
    otherwise: Body


class Jump(NamedTuple):
    """``break`` or ``continue``."""

    at: int
    leaves: bool
    """True for ``break``."""


Operand: TypeAlias = (
    "Dot | Nil | Bool | String | Number | Field | Variable | Function | Chain | Pipe"
)
Node: TypeAlias = "Text | Action | Branch | Range | Jump"
Body: TypeAlias = "tuple[Node, ...]"
