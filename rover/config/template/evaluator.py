"""A parsed template and a context become text, as Go's text/template has it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, repeat
from typing import TYPE_CHECKING, Final

from rover.config.template import nodes
from rover.config.template.functions import DECIDING, FUNCTIONS, show
from rover.config.template.types import Basic, Object, Type, type_name
from rover.config.template.values import (
    NOTHING,
    Entries,
    Items,
    Pointer,
    Value,
    adopt,
    describe,
    truth,
    type_of,
)
from rover.errors import TemplateError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_OUTPUT: Final = 65_536
"""Characters of a result and of each text on the way to it; the backend takes 500."""
MAX_STEPS: Final = 20_000
"""Nodes visited in one evaluation, so that no range runs away."""

_NO_FINAL: Final = None
"""In place of the value that a pipeline hands on: the command stands first."""


def evaluate(body: nodes.Body, context: Pointer) -> str:
    """Evaluate a template.

    Raises:
        TemplateError: Evaluation fails, or grows beyond its bounds; the column is the node's.
    """
    evaluation = _Evaluation(context)
    evaluation.walk(body, context)
    return evaluation.text()


@dataclass(frozen=True, slots=True)
class _Given:
    """What a command gives to the function or method it names."""

    at: int
    """Where the name stands."""
    operands: Sequence[nodes.Operand]
    dot: Value
    """What the operands are evaluated on."""
    final: Value | None
    """What the pipeline hands on as the last argument."""

    @property
    def count(self) -> int:
        return len(self.operands) + (self.final is not _NO_FINAL)

    def refuse(self) -> None:
        """Fail where there is something to give and nothing that takes it."""
        if self.count:
            raise TemplateError("only a function or method takes arguments", column=self.at + 1)


class _Evaluation:
    def __init__(self, context: Pointer) -> None:
        self._pieces: list[str] = []
        self._size = 0
        self._steps = 0
        self._variables: list[tuple[str, Value]] = [("$", context)]

    def text(self) -> str:
        return "".join(self._pieces)

    def _print(self, text: str, at: int) -> None:
        self._pieces.append(text)
        self._size += len(text)
        self._bound(self._size, at)

    def _bound(self, size: int, at: int) -> None:
        if size > MAX_OUTPUT:
            raise TemplateError(f"the text exceeds {MAX_OUTPUT} characters", column=at + 1)

    def _step(self, at: int) -> None:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise TemplateError(f"evaluation takes more than {MAX_STEPS} steps", column=at + 1)

    # Blocks

    def walk(self, body: nodes.Body, dot: Value) -> nodes.Jump | None:
        """Evaluate a block; return the jump that ended it early."""
        for node in body:
            self._step(node.at)
            match node:
                case nodes.Text(at, text):
                    self._print(text, at)
                case nodes.Action(at, pipe):
                    value = self._pipe(pipe, dot)
                    if not pipe.variables:
                        self._print(_shown(value, at), at)
                case nodes.Branch():
                    if jump := self._branch(node, dot):
                        return jump
                case nodes.Range():
                    if jump := self._range(node, dot):
                        return jump
                case nodes.Jump():
                    return node
        return None

    def _branch(self, node: nodes.Branch, dot: Value) -> nodes.Jump | None:
        mark = len(self._variables)
        jump = None
        for pipe, body in node.arms:
            value = self._pipe(pipe, dot)
            if truth(value):
                jump = self.walk(body, value if node.moves_dot else dot)
                break
        else:
            jump = self.walk(node.otherwise, dot)
        del self._variables[mark:]
        return jump

    def _range(self, node: nodes.Range, dot: Value) -> nodes.Jump | None:
        outer = len(self._variables)
        over = self._pipe(node.pipe, dot)
        names = node.pipe.variables
        mark = len(self._variables)
        jump = None
        empty = True
        for index, element in _iterate(over, node, len(names)):
            empty = False
            self._step(node.at)
            self._set_range_variables(node.pipe, index, element, mark)
            jump = self.walk(node.body, element)
            del self._variables[mark:]
            if jump is not None and jump.leaves:
                break
        if empty:
            jump = self.walk(node.otherwise, dot)
            del self._variables[outer:]
            return jump
        del self._variables[outer:]
        return None

    def _set_range_variables(
        self, pipe: nodes.Pipe, index: Value, element: Value, mark: int
    ) -> None:
        values = (element,) if len(pipe.variables) == 1 else (index, element)
        for number, (name, value) in enumerate(zip(pipe.variables, values, strict=False)):
            if pipe.assigns:
                self._assign(name, value, pipe.at)
            else:
                self._variables[mark - len(pipe.variables) + number] = (name, value)

    # Pipelines

    def _pipe(self, pipe: nodes.Pipe, dot: Value) -> Value:
        value: Value | None = _NO_FINAL
        for command in pipe.commands:
            self._step(command.at)
            value = self._command(command, dot, value)
        assert value is not _NO_FINAL  # noqa: S101 - the parser lets no empty pipeline pass
        for name in pipe.variables:
            if pipe.assigns:
                self._assign(name, value, pipe.at)
            else:
                self._variables.append((name, value))
        return value

    def _assign(self, name: str, value: Value, at: int) -> None:
        self._variables[self._find(name, at)] = (name, value)

    def _find(self, name: str, at: int) -> int:
        for number in range(len(self._variables) - 1, -1, -1):
            if self._variables[number][0] == name:
                return number
        raise TemplateError(f"{name} has no value here", column=at + 1)

    def _command(self, command: nodes.Command, dot: Value, final: Value | None) -> Value:
        head = command.head
        given = _Given(head.at, command.arguments, dot, final)
        match head:
            case nodes.Function():
                return self._function(head, given)
            case nodes.Field() | nodes.Chain() | nodes.Variable():
                return self._fields(head, given)
        given.refuse()
        if isinstance(head, nodes.Nil):
            raise TemplateError("nil is not a command", column=head.at + 1)
        return self._argument(head, dot, Basic.ANY)

    def _fields(self, node: nodes.Field | nodes.Chain | nodes.Variable, given: _Given) -> Value:
        """Follow a chain of names; the last one takes what is given."""
        match node:
            case nodes.Field():
                value = given.dot
            case nodes.Variable(at, name):
                value = self._variables[self._find(name, at)][1]
            case nodes.Chain(_, head):
                value = self._argument(head, given.dot, Basic.ANY)
        if not node.names:
            given.refuse()
            return value
        nothing = _Given(node.at, (), given.dot, _NO_FINAL)
        for name in node.names[:-1]:
            value = self._member(value, name, nothing)
        return self._member(value, node.names[-1], given)

    def _member(self, value: Value, name: str, given: _Given) -> Value:
        """Evaluate one field, method or map entry."""
        match value:
            case Pointer(of, target):
                return self._of_object(of, target, name, given)
            case Entries(of, values):
                given.refuse()
                return adopt(values[name], of.value) if name in values else NOTHING
            case _ if value is NOTHING:
                return NOTHING
        raise TemplateError(f"type {describe(value)} has no field {name}", column=given.at + 1)

    def _of_object(self, of: Object, target: object, name: str, given: _Given) -> Value:
        member = of.members.get(name)
        if member is None:
            raise TemplateError(f"{of.name} has no field {name}", column=given.at + 1)
        if member.parameters is None:
            given.refuse()
        parameters = member.parameters or ()
        least, most = len(parameters) - member.optional, len(parameters)
        if not least <= given.count <= most:
            raise wrong_count(name, given.count, least, most, given.at)
        values = self._values(given, parameters)
        if target is None:
            raise TemplateError(f"{name} of a nil {of.name}", column=given.at + 1)
        try:
            found = getattr(target, member.attribute)
            return adopt(found(*values) if parameters else found, member.result)
        except TemplateError as error:
            raise TemplateError(f"{name}: {error}", column=given.at + 1) from error

    def _function(self, node: nodes.Function, given: _Given) -> Value:
        if node.name in DECIDING:
            return self._deciding(node, given)
        signature = FUNCTIONS[node.name]
        least = len(signature.fixed)
        if given.count < least or (given.count > least and not signature.variadic):
            most = None if signature.variadic else least
            raise wrong_count(node.name, given.count, least, most, node.at)
        values = self._values(given, signature.fixed)
        try:
            result = signature.call(*values)
        except TemplateError as error:
            raise TemplateError(str(error), column=node.at + 1) from error
        if isinstance(result, str):
            self._bound(len(result), node.at)
        return result

    def _deciding(self, node: nodes.Function, given: _Given) -> Value:
        if not given.count:
            raise wrong_count(node.name, 0, 1, None, node.at)
        value: Value = NOTHING
        for operand in given.operands:
            value = self._argument(operand, given.dot, Basic.ANY)
            if truth(value) == (node.name == "or"):
                return value
        return value if given.final is _NO_FINAL else given.final

    # Arguments

    def _values(self, given: _Given, parameters: Sequence[Type]) -> list[Value]:
        """Evaluate what is given; beyond the parameters any type will do."""
        types = chain(parameters, repeat(Basic.ANY))
        values = [
            self._argument(operand, given.dot, of)
            for operand, of in zip(given.operands, types, strict=False)
        ]
        if given.final is not _NO_FINAL:
            wanted = parameters[len(values)] if len(values) < len(parameters) else Basic.ANY
            values.append(_assignable(given.final, wanted, given.at))
        return values

    def _argument(self, node: nodes.Operand, dot: Value, wanted: Type) -> Value:
        """Evaluate an operand where a type is asked for."""
        self._step(node.at)
        match node:
            case nodes.Dot():
                value = dot
            case nodes.Pipe():
                value = self._pipe(node, dot)
            case nodes.Function():
                value = self._function(node, _Given(node.at, (), dot, _NO_FINAL))
            case nodes.Field() | nodes.Chain() | nodes.Variable():
                value = self._fields(node, _Given(node.at, (), dot, _NO_FINAL))
            case _:
                return constant(node, wanted)
        return _assignable(value, wanted, node.at)


def constant(node: nodes.Bool | nodes.Nil | nodes.Number | nodes.String, wanted: Type) -> Value:
    """Give a constant as the type that is asked for.

    Raises:
        TemplateError: It is no constant of that type.
    """
    match node, wanted:
        case nodes.Bool(_, value), Basic.ANY | Basic.BOOL:
            return value
        case nodes.String(_, text), Basic.ANY | Basic.TEXT:
            return text
        case nodes.Number(integer=int(whole)), Basic.INT:
            return whole
        case nodes.Number(ideal=int() | float() as ideal), Basic.ANY:
            return ideal
        case nodes.Number(ideal=int() | float() as ideal), Basic.FLOAT:
            return float(ideal)
        case nodes.Number(source=source), Basic.ANY:
            raise TemplateError(f"{source} is too large", column=node.at + 1)
        case nodes.Nil(), Basic.ANY:
            return NOTHING
    raise TemplateError(f"{type_name(wanted)} is wanted here", column=node.at + 1)


def _assignable(value: Value, wanted: Type, at: int) -> Value:
    if wanted is Basic.ANY or type_of(value) is wanted:
        return value
    raise TemplateError(f"{type_name(wanted)} is wanted here, not {describe(value)}", column=at + 1)


def _shown(value: Value, at: int) -> str:
    try:
        return show(value)
    except TemplateError as error:
        raise TemplateError(str(error), column=at + 1) from error


def wrong_count(name: str, given: int, least: int, most: int | None, at: int) -> TemplateError:
    """Tell that a function or method was given too few or too many arguments."""
    wanted = f"{least}" if most == least else f"at least {least}"
    wanted = f"{least} to {most}" if most is not None and most > least else wanted
    return TemplateError(f"{name} takes {wanted} arguments, not {given}", column=at + 1)


def _iterate(over: Value, node: nodes.Range, names: int) -> Iterator[tuple[Value, Value]]:
    """Yield keys and elements of what a range goes over; nothing of nil."""
    match over:
        case Items(of, values):
            for number, item in enumerate(values):
                yield number, adopt(item, of.element)
        case Entries(of, values):
            for key in sorted(values):
                yield key, adopt(values[key], of.value)
        case int() if not isinstance(over, bool):
            if names > 1:
                raise TemplateError("a number has no keys to range over", column=node.at + 1)
            kind = type(over)
            for number in range(over):
                yield NOTHING, kind(number)
        case _ if over is not NOTHING:
            raise TemplateError(f"{describe(over)} cannot be ranged over", column=node.at + 1)
