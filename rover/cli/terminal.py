"""What standard output leads to, and how lines are printed there."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Screen:
    """Where text is shown."""

    width: int = 0
    """Columns; 0 where it is no terminal, and lines may have any length."""
    height: int = 0
    """Lines; 0 likewise."""
    moves: bool = False
    """Whether it understands where to put the cursor, and colours."""


def screen() -> Screen:
    """Look at standard output."""
    if not sys.stdout.isatty():
        return Screen()
    width, height = shutil.get_terminal_size()
    return Screen(width, height, os.environ.get("TERM", "dumb") not in {"dumb", "unknown"})


def coloured(text: str, colour: str, shown: Screen) -> str:
    """Give a word a colour where there are colours and nobody has asked for none."""
    if not shown.moves or os.environ.get("NO_COLOR"):
        return text
    return click.style(text, fg=colour, bold=True)


def show(lines: Iterable[str]) -> None:
    """Print lines; a name may hold what the terminal's encoding does not."""
    encoding = sys.stdout.encoding or "ascii"
    text = "".join(f"{line}\n" for line in lines)
    click.echo(text.encode(encoding, "backslashreplace").decode(encoding), nl=False, color=True)


def mute() -> None:
    """Lead standard output nowhere: Python flushes it at exit and would complain of its reader."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
