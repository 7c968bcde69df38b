"""Figures for people's terminals."""

from __future__ import annotations


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
