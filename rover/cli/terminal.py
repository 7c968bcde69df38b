"""What standard output leads to, and how a screen is drawn on it again and again."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ALTERNATE: Final = "\x1b[?1049h\x1b[?25l"
"""A screen of its own, without the cursor; what stood on the terminal comes back with `BACK`."""
BACK: Final = "\x1b[?25h\x1b[?1049l"
HOME: Final = "\x1b[H"
REST_OF_LINE: Final = "\x1b[K"
REST_OF_SCREEN: Final = "\x1b[J"


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


def watch(draw: Callable[[Screen], list[str]], every: float) -> None:
    """Draw again and again until Ctrl-C or SIGTERM.

    On a terminal each drawing takes the place of the one before, elsewhere it follows it.

    Args:
        draw: gives the lines for a screen.
        every: seconds between two drawings.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    moving = screen().moves
    try:
        if moving:
            _write(ALTERNATE)
        while True:
            shown = screen()
            lines = draw(shown)
            if moving:
                _write(_frame(lines, shown, f"every {every:g} s; Ctrl-C ends"))
            else:
                show([*lines, ""])
                sys.stdout.flush()
            time.sleep(every)
    except KeyboardInterrupt:
        pass
    finally:
        if moving:
            _write(BACK)
        signal.signal(signal.SIGTERM, before)


def _frame(lines: list[str], shown: Screen, foot: str) -> str:
    """Write lines over the ones before, and a last one that tells how many of them do not fit."""
    room = shown.height - 2
    if len(lines) > room:
        foot = f"{len(lines) - room} more lines do not fit; {foot}"
        lines = lines[:room]
    body = "".join(f"{line}{REST_OF_LINE}\r\n" for line in [*lines, ""])
    return f"{HOME}{body}{foot}{REST_OF_LINE}{REST_OF_SCREEN}"


def _write(text: str) -> None:
    encoding = sys.stdout.encoding or "ascii"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
    sys.stdout.flush()
