"""Tokens become the parts of a template, by the rules of Go's text/template.

``define``, ``template`` and ``block`` are refused: one name has no use for templates inside it.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rover.gotemplate import nodes
from rover.gotemplate.errors import TemplateError
from rover.gotemplate.lexer import Kind, Token, tokens
from rover.gotemplate.literals import parse_number, unquote, unquote_rune

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

MAX_SOURCE: Final = 16_384
"""Characters; the names made from templates are worth 70."""
MAX_DEPTH: Final = 40
"""Of parentheses and of blocks in one another, so that no source exhausts the stack."""

_STARTS_OPERAND: Final = frozenset(
    {
        Kind.BOOL,
        Kind.DOT,
        Kind.FIELD,
        Kind.IDENTIFIER,
        Kind.LEFT,
        Kind.NIL,
        Kind.NUMBER,
        Kind.RAW,
        Kind.RUNE,
        Kind.STRING,
        Kind.VARIABLE,
    }
)
_CONSTANTS: Final = (nodes.Bool, nodes.Dot, nodes.Nil, nodes.Number, nodes.String)
_REFUSED: Final = frozenset({"block", "define", "template"})


def parse(source: str, functions: Container[str]) -> nodes.Body:
    """Parse a template.

    Args:
        source: The template.
        functions: Names of the functions that it may call.

    Raises:
        TemplateError: With the column of the first thing that cannot be understood.
    """
    if len(source) > MAX_SOURCE:
        raise TemplateError(
            f"the template is {len(source)} characters long; at most {MAX_SOURCE} are allowed"
        )
    try:
        source.encode(errors="surrogateescape")
    except UnicodeEncodeError as error:
        raise TemplateError("the template is not valid text", column=error.start + 1) from None
    return _Parser(source, functions).template()


class _Parser:
    """Reads one template; tokens are taken from the lexer as they are needed."""

    def __init__(self, source: str, functions: Container[str]) -> None:
        self._tokens = tokens(source)
        self._seen: list[Token] = []
        self._next = 0
        self._functions = functions
        self._variables = ["$"]
        self._depth = 0
        self._ranges = 0

    # Tokens

    def _take(self) -> Token:
        if self._next == len(self._seen):
            self._seen.append(next(self._tokens))
        self._next += 1
        return self._seen[self._next - 1]

    def _peek(self) -> Token:
        token = self._take()
        self._next -= 1
        return token

    def _skip_space(self) -> Token:
        """Look at the next token that is no blank, with the blanks before it gone."""
        while self._peek().kind is Kind.SPACE:
            self._next += 1
        return self._peek()

    def _take_past_space(self) -> Token:
        self._skip_space()
        return self._take()

    def _close(self, where: str) -> None:
        token = self._take_past_space()
        if token.kind is not Kind.CLOSE:
            raise _unexpected(token, where)

    @contextmanager
    def _deeper(self, at: int) -> Iterator[None]:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TemplateError(f"nested deeper than {MAX_DEPTH} levels", column=at + 1)
        yield
        self._depth -= 1

    # Blocks

    def template(self) -> nodes.Body:
        """Read all there is."""
        body, ender = self._body()
        if ender.kind is not Kind.END:
            raise TemplateError(f"{{{{{ender.text}}}}} without its block", column=ender.at + 1)
        return body

    def _body(self) -> tuple[nodes.Body, Token]:
        """Read up to ``else``, ``end`` or the end of the source, and return which it was.

        ``end`` is read up to its ``}}``, ``else`` is not: a condition may follow.
        """
        body: list[nodes.Node] = []
        while True:
            token = self._take_past_space()
            if token.kind is Kind.END:
                return tuple(body), token
            if token.kind is Kind.TEXT:
                body.append(nodes.Text(token.at, token.text))
                continue
            word = self._skip_space()
            if word.kind is Kind.KEYWORD and word.text in ("else", "end"):
                self._take()
                if word.text == "end":
                    self._close("{{end}}")
                return tuple(body), word
            body.append(self._action())

    def _action(self) -> nodes.Node:
        word = self._skip_space()
        if word.kind is not Kind.KEYWORD:
            return nodes.Action(word.at, self._pipe("an action", Kind.CLOSE))
        if word.text in _REFUSED:
            raise TemplateError(
                f"{{{{{word.text}}}}} is not supported: write the template out where it is used",
                column=word.at + 1,
            )
        self._take()
        with self._deeper(word.at):
            if word.text == "range":
                return self._range(word)
            if word.text in ("if", "with"):
                return self._branch(word)
        return self._jump(word)

    def _jump(self, word: Token) -> nodes.Jump:
        self._close(f"{{{{{word.text}}}}}")
        if not self._ranges:
            raise TemplateError(f"{{{{{word.text}}}}} outside of {{{{range}}}}", column=word.at + 1)
        return nodes.Jump(word.at, leaves=word.text == "break")

    def _branch(self, word: Token) -> nodes.Branch:
        known = len(self._variables)
        arms = []
        otherwise: nodes.Body = ()
        while True:
            pipe = self._pipe(word.text, Kind.CLOSE)
            body, ender = self._body()
            arms.append((pipe, body))
            if ender.text != "else":
                break
            follower = self._take_past_space()
            if follower.kind is Kind.KEYWORD and follower.text == word.text:
                continue
            otherwise, ender = self._otherwise(follower)
            break
        self._end_block(word, ender, known)
        return nodes.Branch(word.at, tuple(arms), otherwise, moves_dot=word.text == "with")

    def _range(self, word: Token) -> nodes.Range:
        known = len(self._variables)
        pipe = self._pipe("range", Kind.CLOSE)
        self._ranges += 1
        body, ender = self._body()
        self._ranges -= 1
        otherwise: nodes.Body = ()
        if ender.text == "else":
            otherwise, ender = self._otherwise(self._take_past_space())
        self._end_block(word, ender, known)
        return nodes.Range(word.at, pipe, body, otherwise)

    def _otherwise(self, closes: Token) -> tuple[nodes.Body, Token]:
        if closes.kind is not Kind.CLOSE:
            raise _unexpected(closes, "{{else}}")
        return self._body()

    def _end_block(self, word: Token, ender: Token, known: int) -> None:
        if ender.kind is Kind.END:
            raise TemplateError(f"{{{{{word.text}}}}} without {{{{end}}}}", column=word.at + 1)
        if ender.text != "end":
            raise TemplateError("{{else}} after {{else}}", column=ender.at + 1)
        del self._variables[known:]

    # Pipelines

    def _pipe(self, where: str, end: Kind) -> nodes.Pipe:
        at = self._skip_space().at
        variables, assigns = self._declarations(where)
        commands: list[nodes.Command] = []
        while (token := self._skip_space()).kind is not end:
            if token.kind not in _STARTS_OPERAND:
                raise _unexpected(token, where)
            commands.append(self._command())
        self._take()
        if not commands:
            raise TemplateError(f"a value is missing in {where}", column=at + 1)
        for command in commands[1:]:
            if isinstance(command.head, _CONSTANTS):
                raise TemplateError("a constant cannot follow |", column=command.at + 1)
        return nodes.Pipe(at, tuple(commands), variables, assigns)

    def _declarations(self, where: str) -> tuple[tuple[str, ...], bool]:
        """Read ``$x :=`` or ``$x =``, and ``$i, $x :=`` of a range."""
        names: list[str] = []
        while (variable := self._skip_space()).kind is Kind.VARIABLE:
            start = self._next
            self._take()
            sign = self._skip_space()
            if sign.kind in (Kind.ASSIGN, Kind.DECLARE):
                self._take()
                self._declare(names, variable)
                return tuple(names), sign.kind is Kind.ASSIGN
            if sign.text != ",":
                # No declaration after all: the variable is an operand.
                self._next = start
                break
            self._take()
            self._declare(names, variable)
            if where != "range" or len(names) > 1:
                raise TemplateError(f"too many variables in {where}", column=variable.at + 1)
            follower = self._skip_space()
            if follower.kind not in (Kind.VARIABLE, Kind.CLOSE, Kind.RIGHT):
                raise TemplateError("range can only set variables", column=follower.at + 1)
        return tuple(names), False

    def _declare(self, names: list[str], variable: Token) -> None:
        names.append(variable.text)
        self._variables.append(variable.text)

    def _command(self) -> nodes.Command:
        at = self._skip_space().at
        operands: list[nodes.Operand] = []
        while True:
            self._skip_space()
            operand = self._operand()
            if operand is not None:
                operands.append(operand)
            token = self._peek()
            if token.kind is Kind.SPACE:
                continue
            if token.kind is Kind.PIPE:
                self._take()
            elif token.kind not in (Kind.CLOSE, Kind.RIGHT):
                raise _unexpected(token, "an operand")
            return nodes.Command(at, operands[0], tuple(operands[1:]))

    def _operand(self) -> nodes.Operand | None:
        node = self._term()
        if node is None or self._peek().kind is not Kind.FIELD:
            return node
        names: list[str] = []
        while self._peek().kind is Kind.FIELD:
            names.append(self._take().text[1:])
        match node:
            case nodes.Field(at, first):
                return nodes.Field(at, (*first, *names))
            case nodes.Variable(at, name, ()):
                return nodes.Variable(at, name, tuple(names))
            case nodes.Pipe() | nodes.Function():
                return nodes.Chain(node.at, node, tuple(names))
        raise TemplateError("a constant has no fields", column=node.at + 1)

    def _term(self) -> nodes.Operand | None:
        token = self._skip_space()
        if token.kind not in _STARTS_OPERAND:
            return None
        self._take()
        match token.kind:
            case Kind.IDENTIFIER:
                if token.text not in self._functions:
                    raise TemplateError(f"there is no function {token.text}", column=token.at + 1)
                return nodes.Function(token.at, token.text)
            case Kind.FIELD:
                return nodes.Field(token.at, (token.text[1:],))
            case Kind.VARIABLE:
                if token.text not in self._variables:
                    raise TemplateError(f"{token.text} is not declared", column=token.at + 1)
                return nodes.Variable(token.at, token.text, ())
            case Kind.LEFT:
                with self._deeper(token.at):
                    return self._pipe("parentheses", Kind.RIGHT)
            case _:
                return _constant(token)


def _constant(token: Token) -> nodes.Operand:
    match token.kind:
        case Kind.DOT:
            return nodes.Dot(token.at)
        case Kind.NIL:
            return nodes.Nil(token.at)
        case Kind.BOOL:
            return nodes.Bool(token.at, token.text == "true")
        case Kind.RUNE:
            rune = unquote_rune(token.text)
            if rune is not None:
                return nodes.Number(token.at, token.text, rune, rune)
        case Kind.NUMBER:
            number = parse_number(token.text)
            if number is not None:
                return nodes.Number(token.at, token.text, *number)
        case _:
            text = unquote(token.text)
            if text is not None:
                return nodes.String(token.at, text)
    raise TemplateError(f"{token.text} is not a valid {token.kind.value}", column=token.at + 1)


def _unexpected(token: Token, where: str) -> TemplateError:
    what = token.text if token.text.strip() else token.kind.value
    return TemplateError(f"unexpected {what} in {where}", column=token.at + 1)
