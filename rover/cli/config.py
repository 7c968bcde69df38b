"""``rover config``: check a configuration file, and show what is in effect."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from rover.cli.options import configured, tell
from rover.cli.output import as_json, formed
from rover.cli.terminal import show as print_lines
from rover.config.load import load
from rover.config.origin import file_name
from rover.config.show import Row, rows
from rover.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

from rover.config.load import Loaded

_PLAIN: Final = re.compile(r"[\w./]*[A-Za-z_/][\w./:-]*(?<!:)")
_WORDS: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off"})
"""Words that mean something else where no quotes are around them."""


@click.group()
def config() -> None:
    """Check a configuration file, and show what is in effect."""


@config.command(short_help="check a file as the agent would read it here")
@click.argument("file", type=click.Path(path_type=Path))
def check(file: Path) -> None:
    """Check FILE as the agent would read it here, variables of this shell included.

    With - as FILE standard input is checked: kubectl get ... | rover config check -

    Ends with 0 where the agent would start with it and do what it says, warnings or not. Ends with
    2 where it would not start, and where it would start and take no notice: of sections that nobody
    knows, or of a file that sets nothing. Each error is told with its key and what to do.
    """
    loaded, name = load(file, os.environ), file_name(file)
    if loaded.unknown:
        raise ConfigError(
            f"{name}: {', '.join(loaded.unknown)}: neither this agent nor SkyWalking Rover has such"
            " a section; see docs/configuration.md"
        )
    if loaded.sets_nothing:
        raise ConfigError(
            f"{name}: sets nothing that this agent reads; see docs/configuration.md for its keys"
        )
    tell(loaded)
    changed = sum(row.origin.source.value != "default" for row in rows(loaded))
    values = f"{changed} value{'s' * (changed != 1)}"
    print_lines([f"{name} is good: {values} set here, the rest are defaults"])


@config.command(short_help="show every value in effect, and where it comes from")
@configured
@formed("text", "json")
def show(loaded: Loaded, *, output: str) -> None:
    """Show every value in effect and where it comes from; secrets are masked.

    Without --config the file is the one that ROVER_CONFIG names, or /etc/rover/rover.yaml.
    """
    if output == "json":
        print_lines([as_json(_told(loaded))])
        return
    tell(loaded)
    print_lines([_as_text(rows(loaded))])


def _told(loaded: Loaded) -> Mapping[str, object]:
    return {
        "file": None if loaded.file is None else str(loaded.file),
        "settings": {
            row.path: {"value": row.value, "origin": str(row.origin)} for row in rows(loaded)
        },
        "ignored": list(loaded.ignored),
        "warnings": list(loaded.warnings),
    }


def _as_text(listed: list[Row]) -> str:
    """Write ``key: value`` with the origins as comments in a column of their own."""
    lines = [(f"{row.path}: {_yaml(row.value)}", str(row.origin)) for row in listed]
    # One long template must not push all origins off the screen.
    width = max(len(line) for line, _ in lines if len(line) <= 72)  # noqa: PLR2004
    return "\n".join(f"{line:{width}}  # {origin}" for line, origin in lines)


def _yaml(value: object) -> str:
    if value is None or value == "":
        return '""' if value == "" else "null"
    if isinstance(value, list):
        return f"[{', '.join(_yaml(item) for item in value)}]"
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    if isinstance(value, int) or (_PLAIN.fullmatch(text) and text.lower() not in _WORDS):
        return text
    # JSON's strings are YAML's double-quoted ones.
    return json.dumps(text, ensure_ascii=False)
