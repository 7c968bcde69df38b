"""Draws the course of a figure as a small picture in SVG, without a word of style in it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from rover.status.history import PERIOD, SPAN

if TYPE_CHECKING:
    from rover.status.history import Course, Points

WIDTH: Final = 240
HEIGHT: Final = 48
EDGE: Final = 2
"""Units of the picture that are left free, so that the line is not cut off."""
GAP: Final = 2.5 * PERIOD
"""Seconds without a value after which the line ends and begins anew."""
THOUSANDS: Final = 1_000


def chart(course: Course, points: Points) -> str:
    """Draw a course from an hour ago at the left to now at the right, from 0 at the bottom up."""
    last = f"{number(points[-1][1])} {course.unit}".strip() if points else "nothing yet"
    most = max((value for _, value in points), default=0.0)
    told = f"{course.title}: {last} now, at most {number(most)} in the last hour"
    return (
        f"<figure><figcaption>{escape(course.title)} <b>{escape(last)}</b></figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img"'
        f' aria-label="{escape(told)}">{_lines(points, most)}</svg>'
        f"<small>at most {number(most)}</small></figure>"
    )


def _lines(points: Points, most: float) -> str:
    parts: list[list[str]] = []
    before = float("-inf")
    for seconds, value in points:
        x = EDGE + (1 + max(-1.0, seconds / SPAN)) * (WIDTH - 2 * EDGE)
        y = HEIGHT - EDGE - (value / most if most else 0.0) * (HEIGHT - 2 * EDGE)
        if seconds - before > GAP:
            parts.append([])
        parts[-1].append(f"{x:.1f},{y:.1f}")
        before = seconds
    # a single point is no line, and is drawn as a short one
    drawn = [part if len(part) > 1 else [*part, *part] for part in parts]
    return "".join(
        f'<polyline points="{" ".join(part)}" vector-effect="non-scaling-stroke"/>'
        for part in drawn
    )


def number(value: float) -> str:
    """Write a number with three digits, and thousands with their blank."""
    if value >= THOUSANDS:
        return f"{value:,.0f}".replace(",", "\u202f")
    return f"{value:.3g}"
