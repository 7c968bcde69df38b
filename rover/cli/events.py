"""``rover events``."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click

from rover.cli.cells import cell_count, cut, padded
from rover.cli.choice import EVERYWHERE, Where, chosen
from rover.cli.options import configured
from rover.cli.output import as_json, formed
from rover.cli.terminal import Screen, mute, pause, screen, show
from rover.printable import printable
from rover.status.client import ask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rover.config.load import Loaded

KINDS: Final = (
    "exec", "fork", "exit", "found", "gone", "appeared", "re-reported", "withdrawn",
)  # fmt: skip
EVERY: Final = 0.25
"""Seconds between two questions, where the last answer had all there was."""
COLUMNS: Final = (
    ("TIME", 12), ("KIND", 11), ("PID", 7), ("SERVICE", 20), ("PROCESS", 15), ("WHERE", 24),
)  # fmt: skip
"""And COMMAND, which takes the rest."""
NARROW: Final = (
    ("TIME", 8), ("KIND", 11), ("PID", 7), ("SERVICE", 16), ("PROCESS", 12),
)  # fmt: skip
"""Where a terminal has less than `FULL_WIDTH`."""
FULL_WIDTH: Final = 110


@click.command()
@configured
@formed("columns", "json")
@click.option("--kind", multiple=True, type=click.Choice(KINDS), help="Of this kind.")
@click.option("--pid", multiple=True, type=int, help="Of this process.")
@chosen
@click.option("-n", "--count", type=click.IntRange(min=1), help="End after so many.")
@click.option(
    "--for", "seconds", type=click.FloatRange(min=0), metavar="SECONDS", help="End after a while."
)
def events(
    loaded: Loaded,
    *,
    output: str,
    kind: tuple[str, ...],
    pid: tuple[int, ...],
    where: Where,
    count: int | None,
    seconds: float | None,
) -> None:
    """Show what happens on this host as it happens, until Ctrl-C.

    Execs, forks and exits of processes that have settled; entities that appear, are reported again
    or are withdrawn. The running agent is asked four times a second; it keeps 8,192 events for who
    is slow, and of more it is told how many were missed. While nobody listens it keeps none.
    """
    wanted = Wanted(kind, pid, where)
    shown = screen()
    until = None if seconds is None else time.monotonic() + seconds
    try:
        _follow(loaded.settings.core.state_dir, wanted, output, shown, count=count, until=until)
    except KeyboardInterrupt:
        return
    except BrokenPipeError:
        mute()


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events are shown; an empty choice is all."""

    kinds: tuple[str, ...] = ()
    pids: tuple[int, ...] = ()
    where: Where = EVERYWHERE

    def holds(self, event: Mapping[str, Any]) -> bool:
        """Tell whether an event is wanted."""
        # without a pod there is no name of a container, and the beginning of its id in its place
        name, begins = (event["container"], "") if event["pod"] else ("", event["container"])
        return (
            (not self.kinds or event["kind"] in self.kinds)
            and (not self.pids or event["pid"] in self.pids)
            and self.where.holds((event["service"],), event["namespace"], name, begins)
        )


def _follow(
    state_dir: str,
    wanted: Wanted,
    output: str,
    shown: Screen,
    *,
    count: int | None,
    until: float | None,
) -> None:
    left = count
    after = ask(state_dir, "/events").json()["after"]
    if output == "columns":
        show([_row({name: name for name, _ in COLUMNS}, "COMMAND", shown)])
    for told in _answers(state_dir, after, until):
        lines = [_missed(told["lost"], output)] if told["lost"] else []
        chosen = [event for event in told["events"] if wanted.holds(event)][:left]
        lines += [_line(event, output, shown) for event in chosen]
        if lines:
            show(lines)
        if left is not None:
            left -= len(chosen)
            if left <= 0:
                return


def _answers(state_dir: str, after: int, until: float | None) -> Iterator[Mapping[str, Any]]:
    """Ask again and again for what came since an event."""
    while until is None or time.monotonic() < until:
        told = ask(state_dir, f"/events?after={after}").json()
        after = told["after"]
        yield told
        if not told["events"]:
            pause(EVERY)


def _missed(lost: int, output: str) -> str:
    if output == "json":
        return as_json({"kind": "lost", "count": lost}, line=True)
    return f"… {lost} events missed: more happened than this could be told of"


def _line(event: Mapping[str, Any], output: str, shown: Screen) -> str:
    if output == "json":
        return as_json(event, line=True)
    at = datetime.fromtimestamp(event["at"]).astimezone()
    pod = f"{event['namespace']}/{event['pod']}" if event["pod"] else ""
    cells = {
        "TIME": f"{at:%H:%M:%S}.{at.microsecond // 1_000:03}",
        "KIND": event["kind"],
        "PID": str(event["pid"] or "-"),
        "SERVICE": event["service"] or "-",
        "PROCESS": event["process"] or event["name"] or "-",
        "WHERE": pod or event["container"] or "-",
    }
    return _row(cells, event["command_line"] or "-", shown)


def _row(cells: Mapping[str, str], command: str, shown: Screen) -> str:
    parts = []
    for name, width in NARROW if 0 < shown.width < FULL_WIDTH else COLUMNS:
        text = printable(cells[name])
        if name == "TIME":
            text = text[:width]
        # a pid is never shortened, and in a pipe nothing is
        keeps = name == "PID" or not shown.width
        parts.append(padded(text, max(width, cell_count(text)) if keeps else width))
    line = "  ".join([*parts, printable(command)])
    return (cut(line, shown.width) if shown.width else line).rstrip()
