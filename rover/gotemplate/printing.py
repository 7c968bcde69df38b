"""print, println and printf as Go's fmt does them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rover.gotemplate.formatting import PLAIN, Verb, format_value, typed
from rover.gotemplate.values import joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rover.gotemplate.values import Value

_MAX_WIDTH: Final = 1_000_000
"""Go takes no larger width, precision or argument number."""
_MAX_DIGITS: Final = 7
_FLAGS: Final = {"#": "sharp", "+": "plus", "-": "minus", " ": "space", "0": "zero"}
_DIGITS: Final = re.compile(r"[0-9]*")
_INDEX: Final = re.compile(r"\[([^\]]*)\]")


def sprint(values: Sequence[Value]) -> str:
    """Print values, with a blank between two neighbours of which neither is text."""
    pieces: list[str] = []
    for number, value in enumerate(values):
        if number and not isinstance(value, str) and not isinstance(values[number - 1], str):
            pieces.append(" ")
        pieces.append(format_value(value, PLAIN))
    return joined("".join(pieces))


def sprintln(values: Sequence[Value]) -> str:
    """Print values with blanks between them and a line feed after them."""
    return joined(" ".join(format_value(value, PLAIN) for value in values) + "\n")


def sprintf(template: str, values: Sequence[Value]) -> str:
    """Print values by a format. What does not fit is said in the text, never raised."""
    return joined(_Format(template, values).run())


@dataclass(slots=True)
class _Format:
    """One run over a format."""

    source: str
    values: Sequence[Value]
    at: int = 0
    argument: int = 0
    reordered: bool = False
    good_index: bool = True
    """False once an argument number of the current directive cannot be used."""
    after_index: bool = False
    """The last thing read was an argument number."""

    def run(self) -> str:
        pieces: list[str] = []
        while self.at < len(self.source):
            start = self.source.find("%", self.at)
            if start < 0:
                pieces.append(self.source[self.at :])
                break
            pieces.append(self.source[self.at : start])
            self.at = start + 1
            pieces.append(self._directive())
        if not self.reordered and self.argument < len(self.values):
            extra = ", ".join(typed(value) for value in self.values[self.argument :])
            pieces.append(f"%!(EXTRA {extra})")
        return "".join(pieces)

    def _directive(self) -> str:
        verb = Verb()
        self.good_index = True
        self.after_index = False
        while (flag := self._char()) in _FLAGS:
            setattr(verb, _FLAGS[flag], True)
            self.at += 1
        self._index()
        complaint = self._width(verb) + self._precision(verb)
        if not self.after_index:
            self._index()
        letter = self._char()
        if not letter:
            return complaint + "%!(NOVERB)"
        self.at += 1
        return complaint + self._print(verb, letter)

    def _print(self, verb: Verb, letter: str) -> str:
        if letter == "%":
            return "%"
        if not self.good_index:
            return f"%!{letter}(BADINDEX)"
        if self.argument >= len(self.values):
            return f"%!{letter}(MISSING)"
        verb.letter = letter
        if letter in "vw":
            # Here the flags ask for Go's syntax and for the names of fields.
            verb.go_syntax, verb.sharp, verb.plus = verb.sharp, False, False
        value = self.values[self.argument]
        self.argument += 1
        return format_value(value, verb)

    def _char(self) -> str:
        return self.source[self.at : self.at + 1]

    def _width(self, verb: Verb) -> str:
        if self._char() == "*":
            self.at += 1
            verb.width = self._number_argument()
            self.after_index = False
            if verb.width is None:
                return "%!(BADWIDTH)"
            if verb.width < 0:
                verb.width, verb.minus, verb.zero = -verb.width, True, False
            return ""
        verb.width = self._number()
        if self.after_index and verb.width is not None:
            self.good_index = False
        return ""

    def _precision(self, verb: Verb) -> str:
        # A point that ends the format is taken for the verb.
        if self._char() != "." or self.at + 1 >= len(self.source):
            return ""
        self.at += 1
        if self.after_index:
            self.good_index = False
        self._index()
        if self._char() == "*":
            self.at += 1
            verb.precision = self._number_argument()
            self.after_index = False
            if verb.precision is not None and verb.precision < 0:
                verb.precision = None
            return "%!(BADPREC)" if verb.precision is None else ""
        verb.precision = self._number() or 0
        return ""

    def _number(self) -> int | None:
        match = _DIGITS.match(self.source, self.at)
        digits = match.group() if match else ""
        number = _small_number(digits)
        if number is None and digits:
            # As Go does: the rest of the format is lost.
            self.at = len(self.source)
            return None
        self.at += len(digits)
        return number

    def _number_argument(self) -> int | None:
        if self.argument >= len(self.values):
            return None
        value = self.values[self.argument]
        self.argument += 1
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _MAX_WIDTH:
            return None
        return int(value)

    def _index(self) -> None:
        """Read an argument number such as ``[2]``, counted from 1."""
        self.after_index = False
        if self._char() != "[":
            return
        self.reordered = True
        match = _INDEX.match(self.source, self.at)
        # Fewer than three characters cannot hold a number and its brackets.
        if match is None or self.at + 3 > len(self.source):
            self.at += 1
            self.good_index = False
            return
        self.at = match.end()
        number = _small_number(match.group(1))
        self.after_index = number is not None
        if number is not None and 1 <= number <= len(self.values):
            self.argument = number - 1
        else:
            self.good_index = False


def _small_number(digits: str) -> int | None:
    """Read a number; None where there is none, or one that Go gives up on."""
    if not (digits.isascii() and digits.isdecimal()):
        return None
    # Go looks at the bound before each digit it takes.
    return int(digits) if len(digits) < _MAX_DIGITS or int(digits[:-1]) <= _MAX_WIDTH else None
