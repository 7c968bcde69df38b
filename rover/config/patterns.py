r"""Go's regular expressions (RE2) become Python's.

What both have stays, so that most expressions are shown as they were written. Translated are
``(?<name>``, flags in the middle (``a(?i)b``), ``\z``, ``\Q..\E``, ``\x{10FFFF}``, POSIX classes
such as ``[[:alpha:]]`` and ``{,3}`` (plain text in Go). ``\d``, ``\w``, ``\s`` and ``\b`` mean
ASCII, as in Go. Refused is what Python's engine does not have: ``\pL``, ``\C``, ``(?U)``. Left
alone is that ``$`` also matches before a line feed that ends the text.
"""

from __future__ import annotations

import re
import warnings
from typing import Final

_MAX_LENGTH: Final = 4096
_MAX_REPEAT: Final = 1000
"""Go's own bound."""

_FLAGS: Final = re.compile(r"\(\?([imsU]*)(-[imsU]+)?([:)])")
_REPEAT: Final = re.compile(r"\{([0-9]+)(?:,([0-9]*))?\}")
_POSIX: Final = re.compile(r"\[:(\^?)([a-z]+):\]")
_CLASSES: Final = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_NOT_CLASSES: Final = {
    "alnum": r"\x00-/:-@\[-`{-\U0010ffff",
    "alpha": r"\x00-@\[-`{-\U0010ffff",
    "ascii": r"\x80-\U0010ffff",
    "blank": r"\x00-\x08\n-\x1f!-\U0010ffff",
    "cntrl": r" -~\x80-\U0010ffff",
    "digit": r"\x00-/:-\U0010ffff",
    "graph": r"\x00- \x7f-\U0010ffff",
    "lower": r"\x00-`{-\U0010ffff",
    "print": r"\x00-\x1f\x7f-\U0010ffff",
    "punct": r"\x00- 0-9A-Za-z\x7f-\U0010ffff",
    "space": r"\x00-\x08\x0e-\x1f!-\U0010ffff",
    "upper": r"\x00-@\[-\U0010ffff",
    "word": r"\x00-/:-@\[-\^`{-\U0010ffff",
    "xdigit": r"\x00-/:-@G-`g-\U0010ffff",
}
_LONG_HEX: Final = re.compile(r"\\x\{([0-9a-fA-F]{1,6})\}")


def compile_pattern(source: str) -> re.Pattern[str]:
    """Compile a regular expression written for Go.

    Raises:
        ValueError: It is none, or uses what Python's engine does not have.
    """
    if len(source) > _MAX_LENGTH:
        raise ValueError(f"the expression is longer than {_MAX_LENGTH} characters")
    translated = _Translation(source).run()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return re.compile(translated, re.ASCII)
    except (re.error, RecursionError, OverflowError, Warning) as error:
        problem = getattr(error, "msg", None) or "it is nested too deeply"
        raise ValueError(f"not a regular expression: {problem}") from error


class _Translation:
    """Walks over an expression once."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0
        self._out: list[str] = []
        # Flags set in the middle of a group open a group of their own, up to that group's end; one
        # list for each open group, innermost last.
        self._opened: list[list[str]] = [[]]

    def run(self) -> str:
        while self._at < len(self._source):
            self._step()
        self._close_flags()
        return "".join(self._out)

    def _step(self) -> None:
        character = self._source[self._at]
        if character == "\\":
            self._escape()
        elif character == "[":
            self._class()
        elif character == "(":
            self._group()
        elif character == ")":
            self._close_flags()
            if len(self._opened) > 1:
                self._opened.pop()
            self._emit(")")
        elif character == "|":
            reopened = self._opened[-1]
            self._emit(")" * len(reopened) + "|" + "".join(reopened), 1)
        elif character == "{":
            self._braces()
        else:
            self._emit(character)

    def _emit(self, text: str, taken: int | None = None) -> None:
        self._out.append(text)
        self._at += len(text) if taken is None else taken

    def _close_flags(self) -> None:
        self._out.append(")" * len(self._opened[-1]))

    def _group(self) -> None:
        match = _FLAGS.match(self._source, self._at)
        if match is None:
            named = self._source.startswith("(?<", self._at) and self._source[
                self._at + 3 : self._at + 4
            ] not in ("=", "!")
            self._opened.append([])
            self._emit("(?P<" if named else "(", 3 if named else 1)
            return
        if self._at == 0 and match[3] == ")" and not match[2] and "U" not in match[1]:
            # For all of the expression, which Python writes alike.
            self._emit(match[0])
            return
        flags = match[1] + (match[2] or "")
        if "U" in flags:
            raise ValueError("the flag U is not supported; write *? and +? where they are meant")
        group = f"(?{flags}:" if flags else "(?:"
        (self._opened.append([]) if match[3] == ":" else self._opened[-1].append(group))
        self._emit(group, match.end() - self._at)

    def _braces(self) -> None:
        match = _REPEAT.match(self._source, self._at)
        if match is None:
            self._emit(r"\{", 1)
            return
        if any(int(number) > _MAX_REPEAT for number in match.groups() if number):
            raise ValueError(f"a repetition of more than {_MAX_REPEAT}")
        self._emit(match[0])

    def _escape(self) -> None:
        source, at = self._source, self._at
        letter = source[at + 1 : at + 2]
        if match := _LONG_HEX.match(source, at):
            self._emit(_literal(match[1]), match.end() - at)
        elif letter == "Q":
            end = source.find(r"\E", at + 2)
            end = len(source) if end < 0 else end
            self._emit(re.escape(source[at + 2 : end]), min(len(source), end + 2) - at)
        elif letter == "z":
            self._emit(r"\Z", 2)
        elif letter and letter in "pPC":
            raise ValueError(rf"\{letter} is not supported; list the characters in [ ]")
        else:
            self._emit(source[at : at + 2])

    def _class(self) -> None:
        """Copy ``[...]`` with POSIX classes spelt out and what Python warns of escaped."""
        source = self._source
        start = self._at
        self._emit("[")
        if source.startswith("^", self._at):
            self._emit("^")
        if source.startswith("]", self._at):
            self._emit(r"\]", 1)
        while self._at < len(source) and source[self._at] != "]":
            if match := _POSIX.match(source, self._at):
                self._emit(_posix(match), match.end() - self._at)
            elif source[self._at] == "\\":
                self._escape()
            elif self._is_set_operation():
                self._emit("\\" + source[self._at], 1)
            else:
                self._emit(source[self._at])
        if self._at >= len(source):
            raise ValueError(f"the class {source[start : start + 20]} is not closed by ]")
        self._emit("]")

    def _is_set_operation(self) -> bool:
        """Tell whether Python would warn of a character inside a class."""
        source, at = self._source, self._at
        character = source[at]
        doubled = character in (source[at - 1], source[at + 1 : at + 2])
        return character == "[" or (character in "&~|-" and doubled)


def _posix(match: re.Match[str]) -> str:
    classes = _NOT_CLASSES if match[1] else _CLASSES
    if match[2] not in classes:
        raise ValueError(f"there is no class {match[0]}")
    return classes[match[2]]


def _literal(digits: str) -> str:
    code = int(digits, 16)
    if code > 0x10FFFF:  # noqa: PLR2004 - Unicode's last
        raise ValueError(f"there is no character {digits}")
    return f"\\U{code:08x}"
