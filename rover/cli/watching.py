"""Looks that follow each other until Ctrl-C: in one place on a terminal, in lines elsewhere."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from rover.cli.cells import cut, filled
from rover.cli.output import as_json
from rover.cli.terminal import Screen, emphasised, mute, pause, screen, show, write
from rover.errors import RoverError

if TYPE_CHECKING:
    from collections.abc import Callable

ALTERNATE: Final = "\x1b[?1049h\x1b[?25l"
"""A screen of its own, without the cursor; what stood on the terminal comes back with `BACK`."""
BACK: Final = "\x1b[?25h\x1b[?1049l"
HOME: Final = "\x1b[H"
REST_OF_LINE: Final = "\x1b[K"
REST_OF_SCREEN: Final = "\x1b[J"
NO_ANSWER: Final = "no answer"
FOR_PROGRAMS: Final = frozenset({"json", "name"})
"""Forms of output that have nothing between two looks."""


def watch(look: Callable[[Screen], list[str]], every: float, *, output: str) -> None:
    """Look again and again until Ctrl-C, SIGTERM, or nobody reads any longer.

    On a terminal each look takes the place of the one before. Elsewhere it follows it: for people
    with the time above and a blank line below, for programs as it is.

    Args:
        look: gives the lines for a screen. What it raises as `RoverError` is told in their place,
            and the next look is taken all the same: an agent that is upgraded comes back.
        every: seconds between two looks.
        output: their form.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    moving = screen().moves
    try:
        if moving:
            write(ALTERNATE)
        while True:
            shown = screen()
            lines = _looked(look, shown, output)
            if moving:
                write(_frame(lines, shown, f"every {every:g} s; Ctrl-C ends"))
            else:
                show(lines if output in FOR_PROGRAMS else [_time(), *lines, ""])
            pause(every)
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:
        mute()
    finally:
        if moving:
            write(BACK)
        signal.signal(signal.SIGTERM, before)


def _looked(look: Callable[[Screen], list[str]], shown: Screen, output: str) -> list[str]:
    try:
        return look(shown)
    except RoverError as error:
        if output == "json":
            return [as_json({"error": str(error)}, line=True)]
        lines = filled(f"{NO_ANSWER}  ", str(error), shown.width, len(NO_ANSWER) + 2)
        return emphasised(lines, NO_ANSWER, "red", shown)


def _time() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _frame(lines: list[str], shown: Screen, foot: str) -> str:
    """Write lines over the ones before, and a last one that tells how many of them do not fit."""
    room = max(shown.height - 2, 0)
    if len(lines) > room:
        foot = f"{len(lines) - room} more lines do not fit; {foot}"
        lines = lines[:room]
    foot = cut(foot, shown.width)
    body = "".join(f"{line}{REST_OF_LINE}\r\n" for line in [*lines, ""])
    return f"{HOME}{body}{foot}{REST_OF_LINE}{REST_OF_SCREEN}"
