"""Columns of text that fit a width, by what may be shortened and what never is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rover.cli.cells import cell_count, padded

if TYPE_CHECKING:
    from collections.abc import Sequence

GAP: Final = 2
"""Blanks between two columns."""


@dataclass(frozen=True, slots=True)
class Column:
    """How a column gives way where all do not fit."""

    title: str
    fair: int = 0
    """Cells that it keeps while another has more than its own; 0 for one never shortened."""
    least: int = 0
    """Cells that it keeps to the end."""
    turn: int = 0
    """When it is shortened: those of a lower number go first."""
    goes: int = 0
    """When it is left out where all are at their least and still do not fit: those of a lower
    number go first; 0 for one that stays."""


def laid_out(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Write a head and rows as lines.

    Args:
        columns: from left to right.
        rows: a cell for each column; printable.
        width: cells that a line may have, 0 for any.
    """
    table = [[column.title for column in columns], *map(list, rows)]
    natural = [max(cell_count(row[at]) for row in table) for at in range(len(columns))]
    widths = fitted(columns, natural, width) if width else natural
    return [_line(row, widths) for row in table]


def fitted(columns: Sequence[Column], natural: Sequence[int], width: int) -> list[int]:
    """Give each column its cells; 0 for one that is left out.

    Args:
        columns: from left to right.
        natural: cells that each would take.
        width: cells that a line may have.
    """
    widths = list(natural)
    for kept in ("fair", "least"):
        for at in sorted(range(len(columns)), key=lambda at: columns[at].turn):
            over, least = _taken(widths) - width, getattr(columns[at], kept)
            if over > 0 and least:
                widths[at] = max(min(least, widths[at]), widths[at] - over)
    for at in sorted(range(len(columns)), key=lambda at: columns[at].goes):
        if columns[at].goes and _taken(widths) > width:
            widths[at] = 0
    for at in sorted(range(len(columns)), key=lambda at: columns[at].turn):
        if columns[at].least and widths[at] and (over := _taken(widths) - width) > 0:
            widths[at] = max(1, widths[at] - over)
    return widths


def _taken(widths: Sequence[int]) -> int:
    shown = [width for width in widths if width]
    return sum(shown) + GAP * (len(shown) - 1)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    shown = [padded(text, width) for text, width in zip(cells, widths, strict=True) if width]
    return (" " * GAP).join(shown).rstrip()
