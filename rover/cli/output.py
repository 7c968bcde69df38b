"""How commands that tell of the agent are asked for their output, and how they give it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    Command = Callable[..., None]

EVERY: Final = 2.0
"""Seconds between two looks, unless it is told otherwise."""


def formed(*forms: str, told: str = "") -> Callable[[Command], Command]:
    """Give a command the option for the form of its output; it is called with ``output``.

    Args:
        forms: its words; the first is for people and stands where nothing is said.
        told: what the help says of those that do not speak for themselves.
    """
    return click.option(
        "-o",
        "--output",
        type=click.Choice(forms),
        default=forms[0],
        show_default=True,
        help=told or None,
    )


def watched(command: Command) -> Command:
    """Give a command the options of looks that follow each other; see `Watch`."""
    every = click.option(
        "--every",
        type=click.FloatRange(min=0.5, max=3600),
        default=EVERY,
        show_default=True,
        metavar="SECONDS",
        help="Pause between two looks of --watch.",
    )
    again = click.option(
        "-w", "--watch", "again", is_flag=True, help="Show it again and again, until Ctrl-C."
    )
    return again(every(command))


def as_json(told: Any, *, line: bool = False) -> str:  # noqa: ANN401 - whatever is told
    """Write what is told as JSON that standard output can take.

    Args:
        told: JSON-ready.
        line: in one line, for programs that read one after the other.
    """
    encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "")
    indent = None if line else 2
    text = json.dumps(told, indent=indent, ensure_ascii=encoding != "utf8")
    # JSON itself asks for that below U+0020 only, and a terminal obeys others as well
    acting = {each for each in {*text} if not each.isprintable()} - {"\n"}
    return text.translate({ord(each): json.dumps(each)[1:-1] for each in acting})
