"""Text of a value becomes a boolean, a number or a duration, by the rules of Go and its viper."""

from __future__ import annotations

import re
from typing import Final

_NUMBER: Final = r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+"
_BARE: Final = re.compile(rf"[+-]?(?:{_NUMBER})")
_DURATION: Final = re.compile(rf"([+-]?)((?:(?:{_NUMBER})(?:ns|us|µs|μs|ms|s|m|h))+)")
_PART: Final = re.compile(rf"({_NUMBER})([a-zµμ]+)")
_SECONDS: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_LONGEST: Final = 2**63 / 1e9
"""Seconds that Go's Duration can hold."""

_TRUE: Final = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE: Final = frozenset({"", "0", "f", "F", "false", "FALSE", "False"})
_YAML_TRUE: Final = frozenset({"yes", "Yes", "YES", "on", "On", "ON"})
_YAML_FALSE: Final = frozenset({"no", "No", "NO", "off", "Off", "OFF"})

_MAX_COUNT: Final = 1_000_000_000


def parse_duration(text: str) -> float:
    """Read a duration such as ``20s``, ``1m30s`` or ``300ms``; a bare number is seconds.

    Returns:
        Seconds.

    Raises:
        ValueError: The text is no duration, or longer than Go could hold (292 years).
    """
    text = text.strip()
    if _BARE.fullmatch(text):
        seconds = float(text)
    elif match := _DURATION.fullmatch(text):
        parts = _PART.findall(match[2])
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
        seconds = -seconds if match[1] == "-" else seconds
    else:
        raise ValueError("write a duration like 20s, 1m30s or 300ms, or a number of seconds")
    if abs(seconds) >= _LONGEST:
        raise ValueError("the duration is too long")
    # 0.1 s and not 0.10000000000000001 s, whatever units it was put together from.
    return round(seconds, 9)


def format_duration(seconds: float) -> str:
    """Write a duration as it would stand in a file."""
    if 0 < abs(seconds) < 1:
        return f"{seconds * 1000:g}ms"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    parts = [f"{hours}h" if hours else "", f"{minutes}m" if minutes else ""]
    parts.append(f"{rest:.9g}s" if rest or seconds == 0 else "")
    return "".join(parts)


def parse_boolean(text: str, *, yaml: bool = False) -> bool:
    """Read a boolean as Go's strconv.ParseBool does; empty text is false, as viper has it.

    Args:
        text: What to read.
        yaml: Whether the text stands unquoted in a file, where ``yes`` and ``off`` count too.

    Raises:
        ValueError: It is neither true nor false.
    """
    text = text.strip()
    if text in _TRUE or (yaml and text in _YAML_TRUE):
        return True
    if text in _FALSE or (yaml and text in _YAML_FALSE):
        return False
    raise ValueError("write true or false")


def parse_count(text: str) -> int:
    """Read a whole number, in decimal, hexadecimal (``0x``), octal (``0o``) or binary (``0b``).

    Raises:
        ValueError: It is no whole number, or above 1e9.
    """
    try:
        number = int(text.strip(), 0)
    except ValueError:
        raise ValueError("write a whole number") from None
    if abs(number) > _MAX_COUNT:
        raise ValueError(f"the number exceeds {_MAX_COUNT}")
    return number
