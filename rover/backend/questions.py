"""Reading the JSON objects that the control interface is asked by; what is read is taken out."""

from __future__ import annotations

from typing import Any

from rover.errors import ConfigError

Json = dict[str, Any]


def flag_of(body: Json, name: str, *, default: bool) -> bool:
    """Read a truth value.

    Raises:
        ConfigError: It is something else.
    """
    value = body.pop(name, default)
    if not isinstance(value, bool):
        raise ConfigError(f"{name} is true or false, not {value!r}")
    return value


def number_of(body: Json, name: str, *, default: float, most: float) -> float:
    """Read a number from 0 on.

    Raises:
        ConfigError: It is something else.
    """
    value = body.pop(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise ConfigError(f"{name} is a number from 0 to {most:g}, not {value!r}")
    return value


def nothing_else(body: Json) -> None:
    """See that all was read.

    Raises:
        ConfigError: Something is left.
    """
    if body:
        raise ConfigError(f"unknown: {', '.join(map(str, body))}")


def text_of(body: Json, name: str) -> str:
    """Read a text, "" where there is none.

    Raises:
        ConfigError: It is something else.
    """
    value = body.pop(name, "")
    if not isinstance(value, str):
        raise ConfigError(f"{name} is a text, not {value!r}")
    return value
