"""Pipelines and what stands in them become functions that give a value for a dot."""

from __future__ import annotations

from itertools import chain, repeat
from typing import TYPE_CHECKING, NoReturn

from rover.gotemplate import nodes
from rover.gotemplate.errors import TemplateError
from rover.gotemplate.functions import DECIDING, FUNCTIONS
from rover.gotemplate.state import MAX_OUTPUT, State
from rover.gotemplate.types import Basic, Member, Type, type_name
from rover.gotemplate.values import (
    NOTHING,
    Entries,
    Pointer,
    Value,
    adopt,
    describe,
    truth,
    type_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rover.gotemplate.state import Operand, Stage


def pipeline(pipe: nodes.Pipe) -> Operand:
    """Make the function that gives a pipeline's value and sets its variables."""
    stages = [_stage(command, first=not number) for number, command in enumerate(pipe.commands)]
    first, rest = stages[0], stages[1:]
    if not rest and not pipe.variables:
        return lambda state, dot: first(state, dot, NOTHING)

    def run(state: State, dot: Value) -> Value:
        value = first(state, dot, NOTHING)
        for stage in rest:
            value = stage(state, dot, value)
        for name in pipe.variables:
            if pipe.assigns:
                state.variables[state.find(name, pipe.at)] = (name, value)
            else:
                state.variables.append((name, value))
        return value

    return run


def _stage(command: nodes.Command, *, first: bool) -> Stage:
    head, operands = command.head, command.arguments
    match head:
        case nodes.Function():
            return _function(head, operands, first=first)
        case nodes.Field() | nodes.Chain() | nodes.Variable():
            return _fields(head, operands, first=first)
    if operands or not first:
        return _fails("only a function or method takes arguments", head.at)
    if isinstance(head, nodes.Nil):
        return _fails("nil is not a command", head.at)
    operand = _operand(head, Basic.ANY)
    return lambda state, dot, _: operand(state, dot)


def _fails(message: str, at: int) -> Stage:
    def run(_state: State, _dot: Value, _final: Value) -> NoReturn:
        raise TemplateError(message, column=at + 1)

    return run


def _function(node: nodes.Function, operands: Sequence[nodes.Operand], *, first: bool) -> Stage:
    if node.name in DECIDING:
        return _deciding(node, operands, first=first)
    signature, at = FUNCTIONS[node.name], node.at
    given, least = len(operands) + (not first), len(signature.fixed)
    if given < least or (given > least and not signature.variadic):
        most = None if signature.variadic else least
        return _fails(wrong_count(node.name, given, least, most), at)
    types = tuple(chain(signature.fixed, repeat(Basic.ANY, given - least)))
    values = tuple(_operand(operand, of) for operand, of in zip(operands, types, strict=False))
    call = signature.call

    def run(state: State, dot: Value, final: Value) -> Value:
        arguments = [value(state, dot) for value in values]
        if not first:
            arguments.append(_assignable(final, types[-1], at))
        try:
            result = call(*arguments)
        except TemplateError as error:
            raise TemplateError(str(error), column=at + 1) from error
        if type(result) is str and len(result) > MAX_OUTPUT:
            raise TemplateError(f"the text exceeds {MAX_OUTPUT} characters", column=at + 1)
        return result

    return run


def _deciding(node: nodes.Function, operands: Sequence[nodes.Operand], *, first: bool) -> Stage:
    """Make ``and`` or ``or``: they stop at the first operand that decides."""
    if not operands and first:
        return _fails(wrong_count(node.name, 0, 1, None), node.at)
    values = tuple(_operand(operand, Basic.ANY) for operand in operands)
    decides = node.name == "or"

    def run(state: State, dot: Value, final: Value) -> Value:
        value: Value = NOTHING
        for operand in values:
            value = operand(state, dot)
            if truth(value) is decides:
                return value
        return value if first else final

    return run


# Fields and methods


def _fields(
    node: nodes.Field | nodes.Chain | nodes.Variable,
    operands: Sequence[nodes.Operand],
    *,
    first: bool,
) -> Stage:
    """Follow a chain of names; the last one takes the arguments."""
    start = _start(node)
    at = node.at
    has_arguments = bool(operands) or not first
    if not node.names:
        if has_arguments:
            return _fails("only a function or method takes arguments", at)
        return lambda state, dot, _: start(state, dot)
    *names, last = node.names
    method = _method(last, at, operands, first=first) if has_arguments else None

    def run(state: State, dot: Value, final: Value) -> Value:
        value = start(state, dot)
        for name in names:
            value = _member(value, name, at)
        if method is None:
            return _member(value, last, at)
        return method(state, dot, value, final)

    return run


def _start(node: nodes.Field | nodes.Chain | nodes.Variable) -> Operand:
    match node:
        case nodes.Field():
            return lambda _, dot: dot
        case nodes.Variable(at, name):
            return lambda state, _: state.variables[state.find(name, at)][1]
        case nodes.Chain(_, head):
            return _operand(head, Basic.ANY)


def _member(value: Value, name: str, at: int) -> Value:
    """Evaluate a field, a method or a map entry that is given no arguments."""
    if type(value) is Pointer:
        member = _declared(value, name, at)
        if len(member.parameters or ()) > member.optional:
            most = len(member.parameters or ())
            raise TemplateError(wrong_count(name, 0, most - member.optional, most), column=at + 1)
        return _read(value, member, name, (), at)
    if isinstance(value, Entries):
        return adopt(value.values[name], value.type.value) if name in value.values else NOTHING
    if value is NOTHING:
        return NOTHING
    raise TemplateError(f"type {describe(value)} has no field {name}", column=at + 1)


def _method(
    name: str, at: int, operands: Sequence[nodes.Operand], *, first: bool
) -> Callable[[State, Value, Value, Value], Value]:
    """Make the call of a method; which one it is shows only when its object is there."""
    # Operands are compiled for the types of a method's parameters, which is nearly always the same
    # one: the last is kept. One tuple, so that threads see both parts or none.
    kept: list[tuple[Member | None, tuple[Operand, ...]]] = [(None, ())]
    given = len(operands) + (not first)

    def operands_for(member: Member) -> tuple[Operand, ...]:
        known, values = kept[0]
        if known is not member:
            types = member.parameters or ()
            values = tuple(_operand(node, of) for node, of in zip(operands, types, strict=False))
            kept[0] = (member, values)
        return values

    def run(state: State, dot: Value, value: Value, final: Value) -> Value:
        if value is NOTHING:
            return NOTHING
        if not isinstance(value, Pointer):
            what = f"type {describe(value)} has no method {name}"
            raise TemplateError(what, column=at + 1)
        member = _declared(value, name, at)
        if member.parameters is None:
            raise TemplateError(f"{name} is no method and takes no arguments", column=at + 1)
        most = len(member.parameters)
        if not most - member.optional <= given <= most:
            raise TemplateError(
                wrong_count(name, given, most - member.optional, most), column=at + 1
            )
        arguments = [operand(state, dot) for operand in operands_for(member)]
        if not first:
            arguments.append(_assignable(final, member.parameters[given - 1], at))
        return _read(value, member, name, arguments, at)

    return run


def _declared(value: Pointer, name: str, at: int) -> Member:
    member = value.type.members.get(name)
    if member is None:
        raise TemplateError(f"{value.type.name} has no field {name}", column=at + 1)
    return member


def _read(value: Pointer, member: Member, name: str, arguments: Sequence[Value], at: int) -> Value:
    if value.target is None:
        raise TemplateError(f"{name} of a nil {value.type.name}", column=at + 1)
    try:
        found = getattr(value.target, member.attribute)
        if member.parameters:
            found = found(*arguments)
    except TemplateError as error:
        raise TemplateError(f"{name}: {error}", column=at + 1) from error
    return adopt(found, member.result)


# Operands


def _operand(node: nodes.Operand, wanted: Type) -> Operand:
    """Make an operand where a type is asked for."""
    at = node.at
    match node:
        case nodes.Dot():
            operand: Operand = _dot
        case nodes.Pipe():
            operand = pipeline(node)
        case nodes.Function():
            stage = _function(node, (), first=True)
            operand = lambda state, dot: stage(state, dot, NOTHING)  # noqa: E731 - as below
        case nodes.Field() | nodes.Chain() | nodes.Variable():
            fields = _fields(node, (), first=True)
            operand = lambda state, dot: fields(state, dot, NOTHING)  # noqa: E731 - one of five
        case _:
            return _constant(node, wanted)
    if wanted is Basic.ANY:
        return operand
    return lambda state, dot: _assignable(operand(state, dot), wanted, at)


def _dot(_: State, dot: Value) -> Value:
    return dot


def _constant(node: nodes.Bool | nodes.Nil | nodes.Number | nodes.String, wanted: Type) -> Operand:
    try:
        value = constant(node, wanted)
    except TemplateError as error:
        stage = _fails(str(error), node.at)
        return lambda state, dot: stage(state, dot, NOTHING)
    return lambda _state, _dot: value


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


def wrong_count(name: str, given: int, least: int, most: int | None) -> str:
    """Tell that a function or method is given too few or too many arguments."""
    wanted = f"{least}" if most == least else f"at least {least}"
    wanted = f"{least} to {most}" if most is not None and most > least else wanted
    return f"{name} takes {wanted} arguments, not {given}"
