"""Text for people's terminals."""

from __future__ import annotations

import textwrap


def printable(text: str) -> str:
    """Replace what would move a terminal's cursor or end a line."""
    return "".join(one if one.isprintable() else "\ufffd" for one in text)


def duration(seconds: float) -> str:
    """Write a span for a narrow column, in its largest unit."""
    whole = max(int(seconds), 0)
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if whole >= 2 * length:
            return f"{whole // length}{unit}"
    return f"{whole}s"


def amount(size: int) -> str:
    """Write bytes in their largest unit."""
    for unit, length in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= length:
            return f"{size / length:.1f} {unit}"
    return f"{size} B"


def filled(begin: str, text: str, width: int, hanging: int) -> list[str]:
    """Break a text into lines.

    Args:
        begin: stands before the first; without escapes, which have no width.
        text: anybody's.
        width: columns that a line may have, 0 for any.
        hanging: blanks before each further line.
    """
    text = printable(text)
    if not width:
        return [f"{begin}{text}".rstrip()]
    return textwrap.wrap(
        text,
        width,
        initial_indent=begin,
        subsequent_indent=" " * hanging,
        break_on_hyphens=False,
    ) or [begin.rstrip()]
