"""Secrets in a list of arguments: in values of options, apart or joined, and within arguments."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rover.redaction.lines import BLANKS, pieces_of, word_of
from rover.redaction.names import (
    FOREIGN,
    LONGEST_NAME,
    is_secret_option,
    speaks_of_secrets,
    words_of,
)
from rover.redaction.text import NAME, SHAPE_SIGNS, TELLING, masked_text
from rover.redaction.tools import LEADERS, NOTHING, TAKING_SECRETS, VERSIONED, Tool, tool_of
from rover.redaction.urls import MASK

if TYPE_CHECKING:
    from collections.abc import Sequence

_SIGNS: Final = {"basic "} | words_of(
    "pass pwd pswd pw secret token key cred auth bearer jwt cookie psk otp kennwort contrasena "
    "senha hmac mdp clave parola haslo heslo wachtwoord losenord salasana :// @ sig= signature "
    "-pat _pat"
)
"""Without one of these, in lower case, a command line of no known tool holds no known secret."""

_WORD: Final = re.compile(r"[\w.-]+", re.ASCII)
_ASSIGNED: Final = re.compile(
    rf"([^\w\x80-\xff/-]{{0,8}})({NAME}{{1,{LONGEST_NAME}}})(\s*[=:]\s*)", re.ASCII
)
_OPTION: Final = re.compile(r"--?[A-Za-z][\w-]*(?:=.*)?", re.ASCII | re.DOTALL)
_BEFORE_PROGRAM: Final = re.compile(r"[;&|`(){}$=]")
_ASSIGNING: Final = frozenset({"=", ":", "=>"})
_DEEPEST: Final = 3
"""Command lines within arguments of command lines, as in ``sh -c "ssh host 'mysql ...'"``."""
_SCHEMES: Final = frozenset({"bearer", "basic", "token", "digest", "apikey", "negotiate"})
"""What may stand between ``Authorization:`` and the secret."""
_BARE_NAMES: Final = re.compile(
    r"password|requirepass|masterauth|(?:add-)?authtoken|(?:re)?set-(?:\w+-)*password|[\w.-]+\.psk",
    re.ASCII,
)
"""Words without a dash that the secret follows, as in ``mysqladmin password SECRET``."""
_SETTING: Final = frozenset({"set", "put", "config"})
"""Words before a name before its value, as in ``npm config set NAME VALUE``."""
_SET: Final = re.compile(r"[\w./:@-]+", re.ASCII)
_ANY: Final = "*"
"""Stands for the name of a value that is a secret whatever it says."""
_USER: Final = "*user"
"""Stands for the name of a value that is a user's name with a secret behind it."""


def masked_arguments(arguments: list[str]) -> list[str]:
    """Mask the secrets in arguments; the same list where there is none."""
    if not _may_hold_secrets("\0".join(arguments)):
        return arguments
    if len(arguments) == 1:  # a title: a command line in one argument
        masked = [_masked_line(arguments[0], 0)]
    else:
        masked = _walked(arguments, 0, within_text=False)
    return arguments if masked == arguments else masked


def _may_hold_secrets(text: str) -> bool:
    """Tell in little time whether it is worth to look at each argument."""
    return (
        any(map(text.lower().__contains__, _SIGNS))
        or any(map(text.__contains__, SHAPE_SIGNS))
        or (not text.isascii() and any(map(text.__contains__, FOREIGN)))
        or not TAKING_SECRETS.isdisjoint(_WORD.findall(text))
        or not TAKING_SECRETS.isdisjoint(VERSIONED.findall(text))
    )


def _walked(arguments: Sequence[str], depth: int, *, within_text: bool) -> list[str]:
    walk = _Walk(arguments, depth, within_text)
    return [walk.step(at, argument) for at, argument in enumerate(arguments)]


def _masked_line(line: str, depth: int) -> str:
    """Mask the secrets in arguments that blanks part; quotes hold some together."""
    line = masked_text(line)
    if depth >= _DEEPEST or line.isspace():
        return line
    pieces = pieces_of(line)
    words = [word_of(piece) for piece in pieces[::2]]
    masked = _walked([word.text for word in words], depth, within_text=True)
    pieces[::2] = [word.around(text) for word, text in zip(words, masked, strict=True)]
    return "".join(pieces)


@dataclass(slots=True)
class _Walk:
    """One look at arguments from left to right."""

    arguments: Sequence[str]
    depth: int
    within_text: bool
    """Whether blanks part them, so that several programs' may follow each other."""
    tool: Tool = NOTHING
    leads: bool = True
    """Whether a program's name may follow."""
    pending: str = ""
    """The name whose value the next argument is."""
    words: int = 0
    """Arguments without a dash since the program's name."""
    awaited: set[int] = field(default_factory=set)
    """Which of them are secret."""

    def step(self, at: int, argument: str) -> str:
        """Take the next argument; return it masked."""
        pending, self.pending = self.pending, ""
        masked = self._as_value(pending, argument) if pending else None
        if masked is not None:
            return masked
        if self._begins_program(at, argument):
            return argument
        masked = self._by_tool(argument)
        if masked is None:
            masked = self._by_name(at, argument)
        return self._within(argument) if masked is None else masked

    def _as_value(self, name: str, argument: str) -> str | None:
        """Mask an argument that stands behind a name; None where it is no secret value."""
        if self.within_text and argument in _ASSIGNING:
            self.pending = name
            return argument
        if _OPTION.fullmatch(argument):
            return None
        if name == _USER:
            return self._user_kept(argument)
        if self.within_text and argument.lower() in _SCHEMES:
            self.pending = _ANY
            return argument
        return MASK if name == _ANY or speaks_of_secrets(name, argument) else None

    def _begins_program(self, at: int, argument: str) -> bool:
        """Note whose arguments follow, where an argument is the name of a program known here."""
        if argument == "--":
            self.leads = True
        if not self.leads or argument.startswith("-"):
            return False
        # in a line, as in a shell's, signs may stand before it: $(mysql, true&&mysql
        begins = _BEFORE_PROGRAM.split(argument)[-1] if self.within_text else argument
        name = begins.rpartition("/")[2]
        tool = tool_of(name)
        if at == 0 or tool is not None:
            leader = name in LEADERS or (tool is not None and tool.leads)
            self.leads = leader or self.within_text
        if tool is None:
            return False
        if tool.only_with and tool.only_with not in self.arguments:
            tool = NOTHING
        self.tool, self.words, self.awaited = tool, 0, set(tool.positions)
        return True

    def _by_tool(self, argument: str) -> str | None:
        """Mask an argument by what its program is known for; None where that says nothing."""
        tool = self.tool
        if tool is NOTHING:
            return None
        if argument in tool.apart or argument in tool.after_user:
            self.pending = _USER if argument in tool.after_user else _ANY
            return argument
        if named := dict(tool.named).get(argument):
            self.pending = named
            return argument
        flags = self._flags_before(argument)
        if flags:
            masked = self._by_tool("-" + argument[flags:])
            return masked and argument[:flags] + masked[1:]
        return self._word_of_tool(argument) or self._option_of_tool(argument)

    def _flags_before(self, argument: str) -> int:
        """Count what stands before the last option of several behind one dash, 0 for a single."""
        if not self.tool.flags or argument[:1] != "-" or argument[:2] == "--":
            return 0
        rest = argument[1:].lstrip(self.tool.flags)
        return len(argument) - len(rest) if rest and len(rest) < len(argument) - 1 else 0

    def _option_of_tool(self, argument: str) -> str | None:
        for option in self.tool.after_user:
            joint = f"{option}=" if option.startswith("--") else option
            if argument.startswith(joint):
                return joint + self._user_kept(argument.removeprefix(joint))
        for option in self.tool.apart:
            if argument.startswith(f"{option}="):
                return f"{option}={MASK}"
        for option in self.tool.joined:
            if argument.startswith(option) and argument != option:
                return option + MASK
        return None

    def _word_of_tool(self, argument: str) -> str | None:
        if argument.startswith("-"):
            return None
        self.words += 1
        distances = [distance for word, distance in self.tool.after_word if word == argument]
        if distances:
            self.awaited.update(self.words + distance for distance in distances)
            return argument
        if self.words not in self.awaited:
            return None
        return self._user_kept(argument) if self.tool.user_ends == "/" else MASK

    def _is_set(self, at: int, argument: str) -> bool:
        """Tell whether an argument is the name of what is set to the next one."""
        before = self.arguments[at - 1] if at else ""
        return before in _SETTING and bool(_SET.fullmatch(argument)) and is_secret_option(argument)

    def _user_kept(self, value: str) -> str:
        """Mask the secret behind a user's name."""
        ends = self.tool.user_ends
        user, end, secret = value.partition(ends)
        if not secret:
            return value
        if ends == "/":  # USER/SECRET@DATABASE
            _, at, database = secret.rpartition("@")
            return f"{user}{end}{MASK}{at}{database if at else ''}"
        return f"{user}{end}{MASK}"

    def _by_name(self, at: int, argument: str) -> str | None:
        """Mask an argument by the name in it, and see whether the next one is a value."""
        is_set = self._is_set(at, argument)
        match = None if is_set else _ASSIGNED.match(argument)
        if match:
            return self._assigned(match, argument)
        is_option = argument.startswith("-") or (argument[:1] == "/" and "/" not in argument[1:])
        if not (is_option or is_set or (at and _BARE_NAMES.fullmatch(argument))):
            return None
        # what has blanks in it is no name, though it begins with dashes: -----BEGIN PRIVATE KEY
        if len(argument) > LONGEST_NAME or BLANKS.search(argument):
            return None
        if not is_secret_option(argument):
            return None
        self.pending = argument
        return argument

    def _assigned(self, match: re.Match[str], argument: str) -> str | None:
        """Mask the value of ``name=value``, or of one within it as in ``--set=name=value``."""
        found: re.Match[str] | None = match
        while found:
            name, sign = found[2], found[3]
            value = argument[found.end() : found.end() + TELLING]
            if not value and self.within_text:
                self.pending = name if is_secret_option(name) else ""
                return argument
            if sign[0] == ":" and (value.startswith("/") or (sign == ":" and "/" in name[1:])):
                return None  # a URL, a volume, an image with its tag
            if speaks_of_secrets(name, value):
                if self.within_text and value.lower() in _SCHEMES:
                    self.pending = _ANY
                    return argument
                return argument[: found.end()] + MASK
            found = _ASSIGNED.match(argument, found.end())
        return None

    def _within(self, argument: str) -> str:
        """Mask what an argument holds inside."""
        if self.depth < _DEEPEST and BLANKS.search(argument):
            return _masked_line(argument, self.depth + 1)
        # what is in a word of a line was found when the line was looked at
        return argument if self.within_text else masked_text(argument)
