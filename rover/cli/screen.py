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

from rover.cli.text import duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import RenderableType

    from rover.cli.view import Row, View

COLUMNS: Final = ("service", "instance", "process", "pid", "age", "last beat")
NARROW_COLUMNS: Final = ("service", "process", "pid", "last beat")
FULL_WIDTH: Final = 80
AROUND: Final = 7
"""Lines of the screen that are not rows: title, head and rule of the table, two blank ones around
them, sum and cursor."""


def draw(news: Iterable[tuple[View, list[str]]], title: str) -> None:
    """Draw the view whenever its page differs, until the news end."""
    console = Console()
    shown = None
    with (
        Live(
            console=console,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=sys.stderr.isatty(),
            vertical_overflow="crop",
        ) as live,
        _logs_above(),
    ):
        for view, _ in news:
            page = _page(view, console.size.width, console.size.height, title)
            if page != shown:
                live.update(_drawn(page), refresh=True)
                shown = page


@contextlib.contextmanager
def _logs_above() -> Iterator[None]:
    """Lead log lines that go to the terminal through the live table's own standard error."""
    moved = [
        (handler, handler.stream)
        for handler in logging.getLogger("rover").handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.__stderr__
    ]
    for handler, _ in moved:
        handler.setStream(sys.stderr)
    try:
        yield
    finally:
        for handler, stream in moved:
            handler.setStream(stream)


@dataclass(frozen=True, slots=True)
class _Page:
    """All that is drawn; equal pages are not drawn twice."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    gone: tuple[bool, ...]
    summary: str


def _page(view: View, width: int, height: int, title: str) -> _Page:
    now = time.monotonic()
    columns = COLUMNS if width >= FULL_WIDTH else NARROW_COLUMNS
    rows = view.rows(max(height - AROUND, 1))
    present, gone = view.counts()
    hidden = present + gone - len(rows)
    summary = f"{present} processes, {gone} gone"
    if hidden:
        summary += f"; {hidden} older not shown"
    return _Page(
        title,
        columns,
        tuple(tuple(_cells(row, now)[column] for column in columns) for row in rows),
        tuple(row.gone_at is not None for row in rows),
        summary,
    )


def _cells(row: Row, now: float) -> dict[str, str]:
    if row.gone_at is not None:
        beat = "gone"
    elif row.beat_at is not None:
        beat = f"{duration(now - row.beat_at)} ago"
    else:
        beat = "none yet"
    return {
        "service": row.service,
        "instance": row.instance,
        "process": row.process,
        "pid": str(row.pid or "?"),
        "age": duration((row.gone_at or now) - row.since),
        "last beat": beat,
    }


def _drawn(page: _Page) -> RenderableType:
    table = Table(title=page.title or None, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
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
        # as Text: a name may look like rich's markup
        table.add_row(*(Text(cell) for cell in cells), style="dim" if gone else "")
    return Group(table, Text(page.summary, style="dim", no_wrap=True, overflow="ellipsis"))
