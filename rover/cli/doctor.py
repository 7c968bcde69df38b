"""``rover doctor``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from rover.cli.cells import cell_count, filled
from rover.cli.logs import write_logs
from rover.cli.options import configured, tell
from rover.cli.output import as_json, formed
from rover.cli.scan import known_id
from rover.cli.terminal import Screen, complain, emphasised, screen, show
from rover.doctor import bundle as support
from rover.doctor.checks import Check, Outcome, first_cause, worst
from rover.doctor.examination import examine
from rover.errors import RoverError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rover.config.load import Loaded

COLOURS: Final = {
    Outcome.OK: "green",
    Outcome.WARN: "yellow",
    Outcome.FAIL: "red",
    Outcome.SKIPPED: "cyan",
}
MARK: Final = 9
"""Columns for the outcome."""


@click.command()
@configured
@formed("text", "json")
@click.option("--no-load", is_flag=True, help="Do not load and attach the programs as a trial.")
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write all that support needs to a .tar.gz, without secrets.",
)
def doctor(loaded: Loaded, *, output: str, no_load: bool, bundle: Path | None) -> None:
    """Look at all that the agent needs of this host, the backend and the cluster.

    What is to be mended first stands first. Each look is made with the rights of this command: run
    it as the agent's user, with its configuration.

    Ends with 0 where nothing has failed, warnings or not, else with 1.
    """
    tell(loaded)
    write_logs("ERROR", tracebacks=False)
    checks = examine(loaded.settings, known_id(loaded.settings), load=not no_load)
    report = told_of(checks)
    if output == "json":
        show([as_json(report)])
    else:
        show(page(checks, screen()))
    if bundle is not None:
        _write_bundle(loaded, report, bundle)
    if worst(checks) is Outcome.FAIL:
        sys.exit(RoverError.exit_code)


def _write_bundle(loaded: Loaded, report: dict[str, Any], file: Path) -> None:
    contents, removed = support.texts(loaded, report)
    support.write(file, contents, removed)
    complain(f"{file} written; taken out of it: {', '.join(removed) or 'nothing'}")


def told_of(checks: list[Check]) -> dict[str, Any]:
    """Tell of all looks, JSON-ready."""
    first = first_cause(checks)
    return {
        "outcome": worst(checks).value,
        "first": first and first.subject,
        "checks": [asdict(check) for check in checks],
    }


def page(checks: list[Check], shown: Screen) -> list[str]:
    """Write what is to be mended first, and a line a look."""
    first = first_cause(checks)
    lines: list[str] = []
    if first is not None:
        word = "first cause" if first.outcome is Outcome.FAIL else "could be better"
        lines += filled(f"{word}: ", f"{first.subject}: {first.says}", shown.width, 2)
        lines += [*filled("  do: ", first.mend, shown.width, 6), ""]
    width = max(len(check.subject) for check in checks) + 2
    if shown.width:
        width = min(width, shown.width // 3)
    for check in checks:
        lines += _lines(check, width, shown)
    counts = [f"{sum(each.outcome is kind for each in checks)} {kind.value}" for kind in Outcome]
    return [*lines, "", *filled("", ", ".join(counts), shown.width, 0)]


def _lines(check: Check, width: int, shown: Screen) -> Iterator[str]:
    mark, gap = f"{check.outcome.value:{MARK}}", " " * (MARK + width)
    room = width - cell_count(check.subject)
    if room > 0:
        begin, lines = f"{mark}{check.subject}{' ' * room}", []
    else:
        begin, lines = gap, filled(mark, check.subject, shown.width, MARK)
    lines += filled(begin, check.says, shown.width, len(gap))
    yield from emphasised(lines, check.outcome.value, COLOURS[check.outcome], shown)
    if check.because:
        yield from filled(f"{gap}because of ", f"{check.because}", shown.width, len(gap) + 2)
    elif check.mend:
        yield from filled(f"{gap}do: ", check.mend, shown.width, len(gap) + 4)
