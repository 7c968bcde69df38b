"""What standard output leads to, and how lines are printed there."""

from __future__ import annotations

import errno
import os
import select
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

from rover.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable


UNWRITABLE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""A disk or a quota is full, a file may not grow, a device or a terminal has gone."""


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


def emphasised(lines: list[str], word: str, colour: str, shown: Screen) -> list[str]:
    """Give a word a colour where it stands first in these lines."""
    at = next((at for at, line in enumerate(lines) if word in line), None)
    if at is None:
        return lines
    return [
        *lines[:at],
        lines[at].replace(word, coloured(word, colour, shown), 1),
        *lines[at + 1 :],
    ]


def show(lines: Iterable[str]) -> None:
    """Print lines.

    Raises:
        BrokenPipeError: nobody reads any longer.
        OSError: they cannot be written, to a full disk for example.
    """
    write("".join(f"{line}\n" for line in lines))


def write(text: str) -> None:
    """Write to standard output at once; raises as `show` does."""
    sys.stdout.write(text)
    sys.stdout.flush()


def complain(text: str) -> None:
    """Tell on standard error what a person should know; some of it may be others' words."""
    click.echo("\n".join(map(printable, text.split("\n"))), err=True)


def unwritable(error: BaseException) -> str:
    """Say why nothing can be written; empty where it is something else that fails."""
    if isinstance(error, OSError) and error.errno in UNWRITABLE:
        return f"cannot write: {error.strerror}"
    return ""


def pause(seconds: float) -> None:
    """Wait between two looks.

    Raises:
        BrokenPipeError: whoever reads standard output is gone; a look that finds nothing to write
            would not tell.
    """
    reader = select.poll()
    reader.register(sys.stdout.fileno(), 0)
    if reader.poll(seconds * 1_000):
        raise BrokenPipeError


def mute() -> None:
    """Lead standard output nowhere: Python flushes it at exit and would complain of its reader."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
