"""What changes during one evaluation, and the shapes of what evaluates."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from rover.gotemplate.errors import TemplateError
from rover.gotemplate.values import Value

if TYPE_CHECKING:
    from rover.gotemplate import nodes

MAX_OUTPUT: Final = 65_536
"""Characters of a result and of each text on the way to it; the backend takes 500."""
MAX_STEPS: Final = 20_000
"""Parts evaluated in one go, so that no range runs away."""


class State:
    """What changes during one evaluation."""

    __slots__ = ("pieces", "size", "steps", "variables")

    def __init__(self, context: Value) -> None:
        self.pieces: list[str] = []
        self.size = 0
        self.steps = 0
        self.variables: list[tuple[str, Value]] = [("$", context)]

    def find(self, name: str, at: int) -> int:
        """Find the innermost variable of a name."""
        for number in range(len(self.variables) - 1, -1, -1):
            if self.variables[number][0] == name:
                return number
        raise TemplateError(f"{name} has no value here", column=at + 1)


Block: TypeAlias = Callable[[State, Value], "nodes.Jump | None"]
"""Evaluates a part on a dot; tells the jump that ended it early."""
Operand: TypeAlias = Callable[[State, Value], Value]
"""Gives a value for a dot."""
Stage: TypeAlias = Callable[[State, Value, Value], Value]
"""As `Operand`, with what the pipeline hands on; the first stage of one is handed nothing."""
