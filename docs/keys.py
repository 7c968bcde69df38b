"""Writes the tables of keys in configuration.md anew: ``python docs/keys.py``.

They say what rover/config/settings.py says of each key: its name, default and variable, how its
text is read within which bounds, and the words below it, which are its meaning.
"""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import MISSING
from enum import Enum
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rover.config import settings
from rover.config.keys import all_keys
from rover.config.scalars import format_duration
from rover.config.settings import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rover.config.keys import Setting

DOCUMENT: Final = Path(__file__).with_name("configuration.md")
LISTS: Final = ("process_discovery.scanner.regex[]", "process_discovery.kubernetes.analyzers[]")
"""Have tables of their own; all other keys stand in one."""
TABLE: Final = re.compile(
    r"(<!-- keys(?: of (?P<of>\S+))? -->\n\n).*?\n(?=\n<!-- end of keys -->)", re.DOTALL
)
HEAD: Final = "| Key | Default | Variable | Kind | Meaning |\n|---|---|---|---|---|\n"


def written(document: str) -> str:
    """Return the document with its tables as they should be."""
    return TABLE.sub(lambda found: found[1] + "".join(_table(found["of"] or "")), document)


def _table(of: str) -> Iterator[str]:
    yield HEAD
    for each in all_keys():
        if next((name for name in LISTS if each.path.startswith(name)), "") == of:
            name, variable = _code(each.path), _code(each.key.env)
            cells = (name, _default(each), variable, _kind(each), _meaning(each))
            yield "".join(f"| {cell} " if cell else "| " for cell in cells) + "|\n"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _default(setting: Setting) -> str:
    default, otherwise = setting.default, setting.key.otherwise
    if otherwise is not None:
        return _code(otherwise)
    if default is MISSING:
        return "must be given"
    if default is None or default == ():
        return ""
    if setting.key.kind is Kind.SECONDS:
        return _code(format_duration(default))
    if isinstance(default, bool):
        return _code(str(default).lower())
    return _code(str(default.value if isinstance(default, Enum) else default))


def _kind(setting: Setting) -> str:
    key = setting.key
    if key.choices:
        *others, last = map(_code, key.choices)
        return f"{', '.join(others)} or {last}"
    bounds = [
        f"{word} {_bound(key.kind, bound)}"
        for word, bound in (("at least", key.minimum), ("at most", key.maximum))
        if bound
    ]
    return ", ".join([key.kind.value, *bounds, *["not empty"] * key.needed])


def _bound(kind: Kind, bound: float) -> str:
    return format_duration(bound) if kind is Kind.SECONDS else f"{bound:g}"


def _meaning(setting: Setting) -> str:
    return _words()[setting.section.__name__, setting.attribute].replace("|", r"\|")


@cache
def _words() -> Mapping[tuple[str, str], str]:
    """Return the words below each field of the settings' classes."""
    found = {}
    for section in ast.parse(inspect.getsource(settings)).body:
        if not isinstance(section, ast.ClassDef):
            continue
        for field, below in pairwise(section.body):
            match field, below:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(words))),
                ):
                    found[section.name, name] = " ".join(words.split())
    return found


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text()))
