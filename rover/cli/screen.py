"""The live view on a terminal: a table that is drawn anew when something in it changed."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rover.cli.keys import Key
from rover.cli.outlet import Outlet
from rover.cli.text import duration
from rover.log_level import AGENTS_LOG
from rover.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import RenderableType

    from rover.cli.keys import Keys
    from rover.cli.view import Row, View

COLUMNS: Final = ("service", "instance", "process", "pid", "age", "last beat")
NARROW_COLUMNS: Final = ("service", "process", "pid", "last beat")
TINY_COLUMNS: Final = ("process", "pid")
TINY_WIDTH: Final = 40
"""Columns of a terminal below which no more is shown."""
FULL_WIDTH: Final = 80
LAYER_WIDTH: Final = 110
COMMAND_WIDTH: Final = 130
"""Columns of a terminal from which on layer and command are shown as well."""
AROUND: Final = 7
"""Lines of the screen that are not rows: title, head and rule of the table, two blank ones around
them, sum and cursor."""
ENDED_SHARE: Final = 5
"""One row in so many is kept for processes that have just ended, where there are any."""


@dataclass(slots=True)
class Place:
    """Which part of what is there is looked at."""

    begin: int = 0
    """Rows above the screen."""

    def move(self, keys: Iterable[Key], total: int, page: int) -> None:
        """Move as keys say, and no further than there are rows.

        Args:
            keys: as they were pressed.
            total: rows that there are.
            page: rows that fit.
        """
        for key in keys:
            steps = {
                Key.UP: -1,
                Key.DOWN: 1,
                Key.PAGE_UP: -page,
                Key.PAGE_DOWN: page,
                Key.HOME: -total,
                Key.END: total,
            }
            self.begin += steps[key]
            self.begin = max(0, min(self.begin, total - page))
        self.begin = max(0, min(self.begin, total - page))


def draw(news: Iterable[tuple[View, list[str]]], title: str, keys: Keys) -> None:
    """Draw the view whenever its page differs, until the news end.

    Args:
        news: the view, each time that it may have changed or a key may have been pressed.
        title: stands above the table.
        keys: scroll it.
    """
    console, place = Console(), Place()
    shown = None
    with (
        keys.at_once(),
        Live(
            console=console,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=sys.stderr.isatty(),
            vertical_overflow="crop",
        ) as live,
        _log_kept() as log,
    ):
        for view, _ in news:
            if log and (lines := log.held()):
                sys.stderr.write(lines)  # above the table
            width, height = console.size
            present, gone = view.counts()
            place.move(keys.pressed(), present, room(height) - room_below(height, gone))
            page = page_of(view, width, height, title, place, scrolls=keys.there)
            if page != shown:
                live.update(drawn(page), refresh=True)
                shown = page


def room(height: int) -> int:
    """Tell how many rows fit."""
    return max(height - AROUND, 1)


def room_below(height: int, gone: int) -> int:
    """Tell how many of them are for processes that have just ended, of which there are so many."""
    return min(gone, max(room(height) // ENDED_SHARE, 1), room(height) - 1)


@contextlib.contextmanager
def _log_kept() -> Iterator[Outlet | None]:
    """Keep log lines that go to the terminal for whoever draws on it; None where none do."""
    handlers = logging.getLogger(AGENTS_LOG).handlers
    streams = [each.stream for each in handlers if isinstance(each, logging.StreamHandler)]
    outlet = next((each for each in streams if isinstance(each, Outlet)), None)
    if outlet is None or not sys.stderr.isatty():
        yield None
        return
    outlet.hold()
    try:
        yield outlet
    finally:
        rest = outlet.held()
        outlet.release()
        sys.stderr.write(rest)


@dataclass(frozen=True, slots=True)
class Page:
    """All that is drawn; equal pages are not drawn twice."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    gone: tuple[bool, ...]
    summary: str


def page_of(
    view: View, width: int, height: int, title: str, place: Place, *, scrolls: bool
) -> Page:
    """Take from the view what fits."""
    now = time.monotonic()
    present, gone = view.counts()
    ended = view.ended(room_below(height, gone))
    live = view.live(place.begin, room(height) - len(ended))
    rows = (*live, *ended)
    columns = columns_of(width)
    return Page(
        title,
        columns,
        tuple(tuple(_cells(row, now)[column] for column in columns) for row in rows),
        tuple(row.gone_at is not None for row in rows),
        summed_up(present, gone, place.begin, len(live), scrolls=scrolls),
    )


def columns_of(width: int) -> tuple[str, ...]:
    """Tell which columns a terminal of this width has room for."""
    if width < FULL_WIDTH:
        return TINY_COLUMNS if width < TINY_WIDTH else NARROW_COLUMNS
    layer = ("layer",) if width >= LAYER_WIDTH else ()
    command = ("command",) if width >= COMMAND_WIDTH else ()
    return (*layer, *COLUMNS, *command)


def summed_up(present: int, gone: int, begin: int, shown: int, *, scrolls: bool) -> str:
    """Write the last line: how many there are, which of them are shown, how it ends."""
    parts = [f"{present} processes"]
    if gone:
        parts.append(f"{gone} just ended")
    if shown < present:
        parts.append(f"{begin + 1}-{begin + shown} shown")
        parts += ["PgUp PgDn scroll"] if scrolls else [f"{present - shown} do not fit"]
    return f"{', '.join(parts)}; Ctrl-C ends"


def _cells(row: Row, now: float) -> dict[str, str]:
    if row.gone_at is not None:
        beat = "gone"
    elif row.beat_at is not None:
        beat = f"{duration(now - row.beat_at)} ago"
    else:
        beat = "none yet"
    return {
        "layer": printable(row.key.layer),
        "service": row.service,
        "instance": row.instance,
        "process": row.process,
        "pid": str(row.pid or "?"),
        "age": duration((row.gone_at or now) - row.since),
        "last beat": beat,
        "command": row.command,
    }


def drawn(page: Page) -> RenderableType:
    """Draw a page."""
    # as Text: a name or an address may look like rich's markup
    title = Text(page.title, no_wrap=True, overflow="ellipsis") if page.title else None
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in page.columns:
        number = column in {"pid", "age"}
        table.add_column(
            column,
            justify="right" if number else "left",
            no_wrap=True,
            overflow="ellipsis",
            min_width=7 if number else None,
        )
    for cells, gone in zip(page.rows, page.gone, strict=True):
        table.add_row(*(Text(cell) for cell in cells), style="dim" if gone else "")
    return Group(table, Text(page.summary, style="dim", no_wrap=True, overflow="ellipsis"))
