"""Writes a manual page for each command, from what it says of itself: ``man_pages.py DIR``.

It runs in an environment that has the agent. They do not have the day's date: SOURCE_DATE_EPOCH
gives one, else there is none.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from rover import __version__
from rover.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

ONE: Final = 1
"""Section of the manual: commands."""
FURTHER: Final = {
    "Files": [
        (
            "/etc/rover/rover.yaml",
            "the configuration, unless --config or ROVER_CONFIG names another",
        ),
        ("/var/lib/rover", "the agent's id, and the socket of the running agent"),
    ],
    "Environment": [
        ("ROVER_CONFIG", "the configuration file"),
        (
            "ROVER_BACKEND_ADDR",
            "host:port of the OAP; every key has such a variable",
        ),
    ],
    "Exit status": [
        ("0", "done"),
        ("1", "this host or the backend does not allow it"),
        ("2", "the command line or the configuration is wrong"),
        ("130", "Ctrl-C before anything was running"),
    ],
}


def pages(context: click.Context) -> Iterator[tuple[str, str]]:
    """Yield each command's page with its name, the group's before those below it."""
    yield context.command_path.replace(" ", "-"), _page(context)
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            if command is not None and not command.hidden:
                yield from pages(_context(command, name, context))


def _context(
    command: click.Command, name: str, parent: click.Context | None = None
) -> click.Context:
    return click.Context(command, parent, name, **command.context_settings)


def _page(context: click.Context) -> str:
    name = context.command_path.replace(" ", "-")
    text = (context.command.help or "").strip()
    brief = re.split(r"(?<=[.:])\s", text.replace("\n", " "), maxsplit=1)[0].rstrip(".:")
    lines = [
        f'.TH "{name.upper()}" "{ONE}" "{_date()}" "rover {__version__}" "SkyWalking Rover"',
        ".SH NAME",
        rf"{_roff(name)} \- {_roff(brief[:1].lower() + brief[1:])}",
        ".SH SYNOPSIS",
        f".B {_roff(context.command_path)}",
        _roff(" ".join(context.command.collect_usage_pieces(context))),
        ".SH DESCRIPTION",
        *_paragraphs(text),
        *_listed("Options", _options(context)),
        *_listed("Commands", _commands(context)),
    ]
    for title, rows in FURTHER.items():
        lines += _listed(title, rows)
    parent = context.parent
    above = [parent.command_path.replace(" ", "-")] if parent else []
    also = above + _below(context)
    lines += [".SH SEE ALSO", ",\n".join(f".BR {_roff(each)} ({ONE})" for each in also)]
    return "\n".join(lines) + "\n"


def _paragraphs(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(re.split(r"\n\s*\n", text)):
        if number:
            yield ".PP"
        yield _roff(" ".join(paragraph.replace("\b", "").split()))


def _options(context: click.Context) -> list[tuple[str, str]]:
    records = [each.get_help_record(context) for each in context.command.get_params(context)]
    return [record for record in records if record is not None]


def _commands(context: click.Context) -> list[tuple[str, str]]:
    if not isinstance(context.command, click.Group):
        return []
    found = []
    for name in context.command.list_commands(context):
        command = context.command.get_command(context, name)
        if command is not None:
            found.append((name, command.get_short_help_str(200)))
    return found


def _below(context: click.Context) -> list[str]:
    path = context.command_path.replace(" ", "-")
    return [f"{path}-{name}" for name, _ in _commands(context)]


def _listed(title: str, rows: list[tuple[str, str]]) -> Iterator[str]:
    if rows:
        yield f'.SH "{title.upper()}"'
    for term, text in rows:
        yield ".TP"
        yield f".B {_roff(term)}"
        yield _roff(text)


def _roff(text: str) -> str:
    """Escape what roff would read as its own; a minus is a minus, for people copy options."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{escaped}" if escaped[:1] in (".", "'") else escaped


def _date() -> str:
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if not epoch:
        return ""
    return dt.datetime.fromtimestamp(int(epoch), dt.UTC).date().isoformat()


def write(folder: Path) -> None:
    """Write all pages into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages(_context(main, "rover")):
        (folder / f"{name}.{ONE}").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
