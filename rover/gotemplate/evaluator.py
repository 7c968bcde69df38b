"""A parsed template becomes a function that makes text of a context, as Go's text/template does.

Each part of a template is turned into one Python function when the template is compiled. What Go
decides while it evaluates, such as whether a number of arguments is right, is still decided then:
the function that was made raises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rover.gotemplate import nodes
from rover.gotemplate.errors import TemplateError
from rover.gotemplate.functions import show
from rover.gotemplate.pipelines import pipeline
from rover.gotemplate.state import MAX_OUTPUT, MAX_STEPS, State
from rover.gotemplate.values import NOTHING, Entries, Items, Value, adopt, describe, truth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rover.gotemplate.state import Block


def compile_body(body: nodes.Body) -> Callable[[Value], str]:
    """Turn a template into a function from its context to the text.

    The function raises TemplateError where evaluation fails or grows beyond its bounds; the column
    is that of the part.
    """
    block = _block(body)

    def run(context: Value) -> str:
        state = State(context)
        block(state, context)
        return "".join(state.pieces)

    return run


# Blocks


def _block(body: nodes.Body) -> Block:
    parts = tuple(_node(node) for node in body)
    at = body[0].at if body else 0

    def run(state: State, dot: Value) -> nodes.Jump | None:
        state.steps += len(parts)
        if state.steps > MAX_STEPS:
            raise TemplateError(f"evaluation takes more than {MAX_STEPS} steps", column=at + 1)
        for part in parts:
            jump = part(state, dot)
            if jump is not None:
                return jump
        return None

    return run


def _node(node: nodes.Node) -> Block:
    match node:
        case nodes.Text(at, text):
            return lambda state, _: _print(state, text, at)
        case nodes.Action():
            return _action(node)
        case nodes.Branch():
            return _branch(node)
        case nodes.Range():
            return _range(node)
        case nodes.Jump():
            return lambda _state, _dot: node


def _print(state: State, text: str, at: int) -> None:
    state.pieces.append(text)
    state.size += len(text)
    if state.size > MAX_OUTPUT:
        raise TemplateError(f"the text exceeds {MAX_OUTPUT} characters", column=at + 1)


def _action(node: nodes.Action) -> Block:
    pipe = pipeline(node.pipe)
    at = node.at
    silent = bool(node.pipe.variables)

    def run(state: State, dot: Value) -> None:
        value = pipe(state, dot)
        if silent:
            return
        try:
            text = show(value)
        except TemplateError as error:
            raise TemplateError(str(error), column=at + 1) from error
        _print(state, text, at)

    return run


def _branch(node: nodes.Branch) -> Block:
    arms = [(pipeline(pipe), _block(body)) for pipe, body in node.arms]
    otherwise = _block(node.otherwise)
    moves_dot = node.moves_dot

    def run(state: State, dot: Value) -> nodes.Jump | None:
        mark = len(state.variables)
        chosen, inner = otherwise, dot
        for pipe, body in arms:
            value = pipe(state, dot)
            if truth(value):
                chosen = body
                inner = value if moves_dot else dot
                break
        jump = chosen(state, inner)
        del state.variables[mark:]
        return jump

    return run


def _range(node: nodes.Range) -> Block:
    pipe, body, otherwise = pipeline(node.pipe), _block(node.body), _block(node.otherwise)
    names, assigns, at = node.pipe.variables, node.pipe.assigns, node.at

    def set_variables(state: State, index: Value, element: Value, mark: int) -> None:
        values = (element,) if len(names) == 1 else (index, element)
        for number, (name, value) in enumerate(zip(names, values, strict=False)):
            place = state.find(name, at) if assigns else mark - len(names) + number
            state.variables[place] = (name, value)

    def run(state: State, dot: Value) -> nodes.Jump | None:
        outer = len(state.variables)
        over = pipe(state, dot)
        mark = len(state.variables)
        jump = None
        empty = True
        for index, element in _iterate(over, at, len(names)):
            empty = False
            state.steps += 1
            set_variables(state, index, element, mark)
            jump = body(state, element)
            del state.variables[mark:]
            if jump is not None and jump.leaves:
                break
        # A jump in the body ends here; one in the other block belongs to a range around this one.
        jump = otherwise(state, dot) if empty else None
        del state.variables[outer:]
        return jump

    return run


def _iterate(over: Value, at: int, names: int) -> Iterator[tuple[Value, Value]]:
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
                raise TemplateError("a number has no keys to range over", column=at + 1)
            kind = type(over)
            for number in range(over):
                yield NOTHING, kind(number)
        case _ if over is not NOTHING:
            raise TemplateError(f"type {describe(over)} cannot be ranged over", column=at + 1)
