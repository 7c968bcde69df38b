"""A template's source as tokens, by the rules of Go's text/template."""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from rover.gotemplate.errors import TemplateError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

OPEN: Final = "{{"
CLOSE: Final = "}}"
SPACES: Final = " \t\r\n"
_TERMINATORS: Final = SPACES + ".,|:)("
"""What may follow a name, besides `CLOSE`."""


class Kind(Enum):
    """Kinds of tokens; the value is how a message calls one."""

    TEXT = "text"
    OPEN = "{{"
    CLOSE = "}}"
    SPACE = "blank"
    PIPE = "|"
    ASSIGN = "="
    DECLARE = ":="
    LEFT = "("
    RIGHT = ")"
    CHARACTER = "character"
    DOT = "."
    FIELD = "field"
    VARIABLE = "variable"
    IDENTIFIER = "name"
    KEYWORD = "keyword"
    BOOL = "boolean"
    NIL = "nil"
    NUMBER = "number"
    RUNE = "character constant"
    STRING = "string"
    RAW = "raw string"
    END = "end of the template"


class Token(NamedTuple):
    """A token and its 0-based position in the source."""

    kind: Kind
    text: str
    at: int


_KEYWORDS: Final = frozenset(
    {"block", "break", "continue", "define", "else", "end", "if", "range", "template", "with"}
)
_WORDS: Final = {"true": Kind.BOOL, "false": Kind.BOOL, "nil": Kind.NIL}
_DIGITS: Final = frozenset("0123456789")
_SIGNS: Final = {"=": Kind.ASSIGN, "|": Kind.PIPE, "(": Kind.LEFT, ")": Kind.RIGHT}

_BLANKS: Final = re.compile(r"[ \t\r\n]*")
# As generous as Go's own scanner; what is no number after all fails when it is read.
_NUMBER: Final = re.compile(
    r"[+-]?"
    r"(?:0[xX][0-9a-fA-F_]*(?:\.[0-9a-fA-F_]*)?(?:[pP][+-]?[0-9_]*)?"
    r"|0[oO][0-7_]*(?:\.[0-7_]*)?"
    r"|0[bB][01_]*(?:\.[01_]*)?"
    r"|[0-9_]*(?:\.[0-9_]*)?(?:[eE][+-]?[0-9_]*)?)i?"
)
_QUOTED: Final = {
    '"': (Kind.STRING, re.compile(r'"(?:[^"\\\n]|\\[^\n])*"'), "string"),
    "'": (Kind.RUNE, re.compile(r"'(?:[^'\\\n]|\\[^\n])*'"), "character constant"),
    "`": (Kind.RAW, re.compile(r"`[^`]*`"), "raw string"),
}


def tokens(source: str) -> Iterator[Token]:
    """Split a source into tokens.

    Trim markers are applied and comments dropped here; nobody else sees them.

    Raises:
        TemplateError: At the first character that cannot be read.
    """
    at = 0
    while (start := source.find(OPEN, at)) >= 0:
        trims = _trims_before(source, start + len(OPEN))
        text = source[at:start]
        if trims:
            text = text.rstrip(SPACES)
        if text:
            yield Token(Kind.TEXT, text, at)
        inside = start + len(OPEN) + (2 if trims else 0)
        if source.startswith("/*", inside):
            at = _skip_comment(source, inside)
        else:
            yield Token(Kind.OPEN, OPEN, start)
            at = yield from _action(source, inside)
    if at < len(source):
        yield Token(Kind.TEXT, source[at:], at)
    yield Token(Kind.END, "", len(source))


def _trims_before(source: str, at: int) -> bool:
    return source.startswith("-", at) and source[at + 1 : at + 2] in tuple(SPACES)


def _close(source: str, at: int) -> int | None:
    """Tell where the text goes on if an action ends here, its trim marker obeyed."""
    if source.startswith(CLOSE, at):
        return at + len(CLOSE)
    if source[at : at + 1] in tuple(SPACES) and source.startswith("-" + CLOSE, at + 1):
        return _after_blanks(source, at + 2 + len(CLOSE))
    return None


def _after_blanks(source: str, at: int) -> int:
    match = _BLANKS.match(source, at)
    assert match is not None  # noqa: S101 - the pattern matches the empty text
    return match.end()


def _skip_comment(source: str, at: int) -> int:
    end = source.find("*/", at + 2)
    if end < 0:
        raise TemplateError("a comment is not closed by */", column=at + 1)
    after = _close(source, end + 2)
    if after is None:
        raise TemplateError("a comment must end right before }}", column=end + 3)
    return after


def _action(source: str, at: int) -> Generator[Token, None, int]:
    """Yield the tokens of one action; return where the text goes on."""
    depth = 0
    while (after := _close(source, at)) is None:
        if at >= len(source):
            raise TemplateError("an action is not closed by }}", column=at + 1)
        token, at = _token(source, at)
        depth += (token.kind is Kind.LEFT) - (token.kind is Kind.RIGHT)
        if depth < 0:
            raise TemplateError("a ) without its (", column=token.at + 1)
        yield token
    if depth:
        raise TemplateError("a ( without its )", column=at + 1)
    yield Token(Kind.CLOSE, CLOSE, at)
    return after


def _token(source: str, at: int) -> tuple[Token, int]:
    """Read one token inside an action, where one is known to begin."""
    first = source[at]
    read = _sign
    if first in SPACES:
        read = _space
    elif first in _QUOTED:
        read = _quoted
    elif first == "$" or (first == "." and source[at + 1 : at + 2] not in _DIGITS):
        read = _field_or_variable
    elif first in "+-." or first in _DIGITS:
        read = _number
    elif _is_alphanumeric(first):
        read = _word
    return read(source, at)


def _space(source: str, at: int) -> tuple[Token, int]:
    end = _after_blanks(source, at)
    # The last blank may belong to a trim marker; it is not the only one, or the action would have
    # ended here.
    if source.startswith("-" + CLOSE, end):
        end -= 1
    return Token(Kind.SPACE, source[at:end], at), end


def _sign(source: str, at: int) -> tuple[Token, int]:
    first = source[at]
    if source.startswith(":=", at):
        return Token(Kind.DECLARE, ":=", at), at + 2
    if first in _SIGNS:
        return Token(_SIGNS[first], first, at), at + 1
    if first.isascii() and first.isprintable() and first != ":":
        return Token(Kind.CHARACTER, first, at), at + 1
    raise TemplateError(f"{first!r} cannot stand in an action", column=at + 1)


def _quoted(source: str, at: int) -> tuple[Token, int]:
    kind, pattern, called = _QUOTED[source[at]]
    match = pattern.match(source, at)
    if match is None:
        raise TemplateError(f"a {called} is not closed", column=at + 1)
    return Token(kind, match.group(), at), match.end()


def _number(source: str, at: int) -> tuple[Token, int]:
    match = _NUMBER.match(source, at)
    assert match is not None  # noqa: S101 - the pattern matches the empty text
    end = match.end()
    follower = source[end : end + 1]
    if follower and _is_alphanumeric(follower):
        raise TemplateError(f"{match.group() + follower!r} is not a number", column=at + 1)
    if follower in ("+", "-") or match.group().endswith("i"):
        raise TemplateError("complex numbers are not supported", column=at + 1)
    return Token(Kind.NUMBER, match.group(), at), end


def _field_or_variable(source: str, at: int) -> tuple[Token, int]:
    end = _name_end(source, at + 1)
    name = source[at:end]
    if name == ".":
        return Token(Kind.DOT, name, at), end
    return Token(Kind.VARIABLE if name[0] == "$" else Kind.FIELD, name, at), end


def _word(source: str, at: int) -> tuple[Token, int]:
    end = _name_end(source, at)
    word = source[at:end]
    kind = Kind.KEYWORD if word in _KEYWORDS else _WORDS.get(word, Kind.IDENTIFIER)
    return Token(kind, word, at), end


def _name_end(source: str, at: int) -> int:
    """Find the end of a name, which must be followed by something that may follow one."""
    while at < len(source) and _is_alphanumeric(source[at]):
        at += 1
    if at < len(source) and source[at] not in _TERMINATORS and not source.startswith(CLOSE, at):
        raise TemplateError(f"{source[at]!r} cannot follow a name", column=at + 1)
    return at


def _is_alphanumeric(character: str) -> bool:
    # isalpha and isdecimal are Unicode's L and Nd, which is what Go takes.
    return character == "_" or character.isalpha() or character.isdecimal()
