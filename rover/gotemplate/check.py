"""What can be told of a template before there is anything to evaluate it on.

Names that a context does not offer are found everywhere. What depends on more than one value, such
as a comparison of unlike types, is an error only where the template is sure to come there: Go's
``and``, ``or`` and ``if`` may step around it.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from rover.gotemplate import nodes
from rover.gotemplate.errors import TemplateError
from rover.gotemplate.functions import DECIDING, FUNCTIONS, comparable, ordered
from rover.gotemplate.pipelines import constant, wrong_count
from rover.gotemplate.types import Basic, ListOf, MapOf, Member, Object, Type, type_name
from rover.gotemplate.values import type_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_Known: TypeAlias = "Type | None"
"""A type, or None where it cannot be told."""

_EQUALITY: Final = frozenset({"eq", "ne"})
_ORDER: Final = frozenset({"lt", "le", "gt", "ge"})


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a template."""

    uses: frozenset[str]
    """Names of all fields and methods it mentions."""
    result: Type | None
    """Type of its value where it is a single action, None where that cannot be told."""


def check(body: nodes.Body, context: Object) -> Facts:
    """Look for what cannot work on any object of the context's type.

    Raises:
        TemplateError: At the first such place.
    """
    checker = _Checker(context, frozenset(_assigned(body)))
    checker.body(body, context, sure=True)
    single = body[0] if len(body) == 1 else None
    result = checker.result if isinstance(single, nodes.Action) else None
    return Facts(frozenset(checker.uses), result)


def _assigned(body: nodes.Body) -> Iterator[str]:
    """Find the variables that ``=`` sets somewhere: they may change their type."""
    for node in body:
        match node:
            case nodes.Action(_, pipe):
                yield from _assigned_in(pipe)
            case nodes.Branch(_, arms, otherwise):
                for pipe, arm in arms:
                    yield from _assigned_in(pipe)
                    yield from _assigned(arm)
                yield from _assigned(otherwise)
            case nodes.Range(_, pipe, inner, otherwise):
                yield from _assigned_in(pipe)
                yield from _assigned(inner)
                yield from _assigned(otherwise)


def _assigned_in(pipe: nodes.Pipe) -> Iterator[str]:
    if pipe.assigns:
        yield from pipe.variables
    for command in pipe.commands:
        for operand in (command.head, *command.arguments):
            inner = operand.head if isinstance(operand, nodes.Chain) else operand
            if isinstance(inner, nodes.Pipe):
                yield from _assigned_in(inner)


@dataclass(frozen=True, slots=True)
class _Given:
    """What a command gives to a function or method, as far as types go."""

    at: int
    operands: Sequence[nodes.Operand]
    dot: _Known
    sure: bool
    final: tuple[_Known] | tuple[()] = ()

    @property
    def count(self) -> int:
        return len(self.operands) + len(self.final)


class _Checker:
    def __init__(self, context: Object, assigned: frozenset[str]) -> None:
        self.uses: set[str] = set()
        self.result: _Known = None
        self._assigned = assigned
        self._variables: list[tuple[str, _Known]] = [("$", context)]

    def body(self, body: nodes.Body, dot: _Known, *, sure: bool) -> None:
        for node in body:
            match node:
                case nodes.Action(_, pipe):
                    self.result = self._pipe(pipe, dot, sure=sure)
                case nodes.Branch():
                    self._branch(node, dot, sure=sure)
                case nodes.Range():
                    self._range(node, dot, sure=sure)

    def _branch(self, node: nodes.Branch, dot: _Known, *, sure: bool) -> None:
        mark = len(self._variables)
        for number, (pipe, body) in enumerate(node.arms):
            value = self._pipe(pipe, dot, sure=sure and number == 0)
            self.body(body, value if node.moves_dot else dot, sure=False)
        self.body(node.otherwise, dot, sure=False)
        del self._variables[mark:]

    def _range(self, node: nodes.Range, dot: _Known, *, sure: bool) -> None:
        mark = len(self._variables)
        over = self._pipe(node.pipe, dot, sure=sure)
        names = node.pipe.variables
        del self._variables[mark:]
        element = _element(over)
        for number, name in enumerate(names):
            last = number == len(names) - 1
            self._declare(name, element if last else None)
        self.body(node.body, element, sure=False)
        self.body(node.otherwise, dot, sure=False)
        del self._variables[mark:]

    def _declare(self, name: str, of: _Known) -> None:
        self._variables.append((name, None if name in self._assigned else of))

    def _pipe(self, pipe: nodes.Pipe, dot: _Known, *, sure: bool) -> _Known:
        final: tuple[_Known] | tuple[()] = ()
        for command in pipe.commands:
            given = _Given(command.head.at, command.arguments, dot, sure, final)
            final = (self._command(command.head, given),)
        value = final[0] if final else None
        if not pipe.assigns:
            for name in pipe.variables:
                self._declare(name, value)
        return value

    def _command(self, head: nodes.Operand, given: _Given) -> _Known:
        match head:
            case nodes.Function():
                return self._function(head.name, given)
            case nodes.Field() | nodes.Variable() | nodes.Chain():
                return self._fields(head, given)
            case nodes.Pipe():
                value = self._pipe(head, given.dot, sure=given.sure)
                self._arguments(given)
                return value
        self._arguments(given)
        return self._operand(head, given)

    def _operand(self, node: nodes.Operand, given: _Given, wanted: Type = Basic.ANY) -> _Known:
        """Tell the type of an operand that stands where a type is asked for."""
        alone = _Given(node.at, (), given.dot, given.sure)
        match node:
            case nodes.Dot():
                return given.dot
            case nodes.Bool() | nodes.Nil() | nodes.Number() | nodes.String():
                try:
                    return type_of(constant(node, wanted))
                except TemplateError:
                    if given.sure:
                        raise
                    return None
        found = self._command(node, alone)
        _check_type(found, wanted, alone)
        return found

    def _fields(self, node: nodes.Field | nodes.Variable | nodes.Chain, given: _Given) -> _Known:
        self.uses.update(node.names)
        match node:
            case nodes.Field():
                value = given.dot
            case nodes.Variable(_, name):
                value = next((of for known, of in reversed(self._variables) if known == name), None)
            case nodes.Chain(_, head):
                value = self._operand(head, given)
        nothing = _Given(node.at, (), given.dot, given.sure)
        for number, name in enumerate(node.names):
            last = number == len(node.names) - 1
            value = self._member(value, name, given if last else nothing)
        if not node.names:
            self._arguments(given)
        return value

    def _member(self, value: _Known, name: str, given: _Given) -> _Known:
        match value:
            case Object():
                return self._of_object(value, name, given)
            case MapOf() | None | Basic.ANY:
                # An entry of a map may be missing, and is no value of any type then.
                self._arguments(given)
                return None
        raise TemplateError(f"type {type_name(value)} has no field {name}", column=given.at + 1)

    def _of_object(self, of: Object, name: str, given: _Given) -> _Known:
        member = of.members.get(name)
        if member is None:
            raise _unknown(of, name, given.at)
        self._check_count(name, member, given)
        self._arguments(given, member.parameters or ())
        return member.result

    def _check_count(self, name: str, member: Member, given: _Given) -> None:
        parameters = member.parameters or ()
        least, most = len(parameters) - member.optional, len(parameters)
        if not least <= given.count <= most:
            raise TemplateError(wrong_count(name, given.count, least, most), column=given.at + 1)

    def _function(self, name: str, given: _Given) -> _Known:
        if name in DECIDING:
            return self._deciding(name, given)
        signature = FUNCTIONS[name]
        least = len(signature.fixed)
        too_many = given.count > least and not signature.variadic
        if given.sure and (given.count < least or too_many):
            most = None if signature.variadic else least
            raise TemplateError(wrong_count(name, given.count, least, most), column=given.at + 1)
        types = self._arguments(given, signature.fixed)
        if given.sure:
            _check_comparison(name, types, given)
        return signature.result

    def _deciding(self, name: str, given: _Given) -> _Known:
        if given.sure and not given.count:
            raise TemplateError(wrong_count(name, 0, 1, None), column=given.at + 1)
        types: list[_Known] = []
        for number, operand in enumerate(given.operands):
            # Only the first is sure to be evaluated.
            sure = given.sure and number == 0
            types.append(self._operand(operand, _Given(operand.at, (), given.dot, sure)))
        types.extend(given.final)
        return types[0] if types and all(of == types[0] for of in types) else None

    def _arguments(self, given: _Given, parameters: Sequence[Type] = ()) -> list[_Known]:
        types = []
        for number, operand in enumerate(given.operands):
            wanted = parameters[number] if number < len(parameters) else Basic.ANY
            types.append(self._operand(operand, given, wanted))
        wanted = parameters[len(types)] if len(types) < len(parameters) else Basic.ANY
        for final in given.final:
            _check_type(final, wanted, given)
        return [*types, *given.final]


def _check_type(found: _Known, wanted: Type, given: _Given) -> None:
    if given.sure and found not in (None, Basic.ANY) and wanted not in (Basic.ANY, found):
        raise TemplateError(
            f"{type_name(wanted)} is wanted here, not {type_name(found)}",
            column=given.at + 1,
        )


def _element(over: _Known) -> _Known:
    match over:
        case ListOf(element):
            return None if element is Basic.ANY else element
        case MapOf(value):
            return None if value is Basic.ANY else value
        case Basic.INT | Basic.INT32 | Basic.BYTE:
            return over
    return None


def _check_comparison(name: str, types: Sequence[_Known], given: _Given) -> None:
    compares = comparable if name in _EQUALITY else ordered if name in _ORDER else None
    if compares is None or not types or types[0] is None:
        return
    first = types[0]
    # eq takes the others one by one and stops at the first that is equal.
    for other in types[1:2]:
        if other is not None and Basic.ANY not in (first, other) and not compares(first, other):
            raise TemplateError(
                f"{type_name(first)} and {type_name(other)} cannot be compared",
                column=given.at + 1,
            )


def _unknown(of: Object, name: str, at: int) -> TemplateError:
    known = sorted(of.members)
    near = difflib.get_close_matches(name, known, 1, 0.5)
    advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    return TemplateError(f"there is no {name} here; {advice}", column=at + 1)
