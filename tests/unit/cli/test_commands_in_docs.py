"""Whatever the documents say to type at `rover` is understood by it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from rover.cli import main

ROOT = Path(__file__).parents[3]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / ".github").rglob("*.md")]
)
IN_LINE = re.compile(r"`(rover [^`]+)`")
IN_BLOCK = re.compile(r"^ *(?:.* -- )?(?:sudo )?(?:-E )?(?:[A-Z_]+=\S+ )*(?:\S*/)?rover (.*)$")
ENDS_AT = {"|", "&&", "||", ";", "&", ">", "<", "2>", "#", "…", "..."}


def said() -> Iterator[tuple[str, str]]:
    """Give each document's name, and what it says to type."""
    for document in DOCUMENTS:
        text = document.read_text()
        blocks = re.findall(r"(?ms)^```\w*\n(.*?)^```|^((?:    [^\n]*\n)+)", text)
        lines = re.sub(r"\\\n\s*", " ", "\n".join(map("".join, blocks))).splitlines()
        found = [f"rover {line[1]}" for line in map(IN_BLOCK.match, lines) if line]
        for command in dict.fromkeys([*found, *IN_LINE.findall(text)]):
            yield document.name, command


def arguments_of(command: str) -> list[str]:
    """Return what the shell would give to `rover`."""
    words = shlex.split(command, comments=True)[1:]
    return words[: next((at for at, word in enumerate(words) if word in ENDS_AT), None)]


def understood(arguments: list[str]) -> None:
    """Have click take a command apart, as far as it does before it looks at values.

    Raises:
        click.UsageError: there is no such command or option, or one of them lacks its value.
    """
    command: click.Command = main
    context = click.Context(main, info_name="rover")
    while isinstance(command, click.Group) and arguments[:1] and arguments[0][0] != "-":
        _, command, arguments = command.resolve_command(context, arguments)
        context = click.Context(command, parent=context, info_name=command.name)
    try:
        _, left, _ = command.make_parser(context).parse_args(args=list(arguments))
    except click.BadOptionUsage as error:
        # left out in a sentence, as the ID of `rover explain --container`
        if arguments[-1] != error.option_name:
            raise
        return
    if left:
        raise click.UsageError(f"{left} is too much", context)


@pytest.mark.parametrize(("document", "command"), [*said()])
def test_it_is_understood(document: str, command: str):
    arguments = arguments_of(command)
    try:
        understood(arguments)
    except click.UsageError as error:
        pytest.fail(f"{document}: {command}: {error.format_message()}")


def test_there_are_many():
    assert len(list(said())) > 60


@pytest.mark.parametrize("wrong", ["rover ps --al", "rover stat", "rover id 7", "rover ps --for 2"])
def test_what_is_not_there_is_not_understood(wrong: str):
    with pytest.raises(click.UsageError):
        understood(arguments_of(wrong))
