"""``rover ps``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from rover.cli.logs import write_logs
from rover.cli.options import configured, tell
from rover.cli.scan import scan
from rover.cli.text import printable
from rover.discovery.once import all_of
from rover.errors import RoverError
from rover.explain import explain
from rover.model import Reason

if TYPE_CHECKING:
    from rover.config.load import Loaded
    from rover.table import Why

COLUMNS = ("PID", "LAYER", "SERVICE", "INSTANCE", "PROCESS", "STATUS", "COMMAND")


@click.command()
@configured
@click.argument("pids", metavar="[PID]...", nargs=-1, type=int)
@click.option("-a", "--all", "everything", is_flag=True, help="Kernel threads as well.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
def ps(loaded: Loaded, *, pids: tuple[int, ...], everything: bool, output: str) -> None:
    """Scan once: what would be reported and as what, and why the rest would not."""
    tell(loaded)
    write_logs("DEBUG" if loaded.settings.logger.level == "DEBUG" else "WARN", tracebacks=False)
    found = scan(loaded.settings, lambda census, _: all_of(census))
    missing = set(pids) - {why.process.pid for why in found}
    if missing:
        raise RoverError(f"no process has pid {', '.join(map(str, sorted(missing)))}")
    if pids:
        found = [why for why in found if why.process.pid in pids]
    elif not everything:
        found = [why for why in found if why.reason is not Reason.KERNEL_THREAD]
    if output == "json":
        explained = [explain(why, lambda _: None) for why in found]
        click.echo(json.dumps(explained, indent=2, ensure_ascii=False))
    else:
        print_table(found)


def print_table(found: list[Why]) -> None:
    """Print one line an entity, and one for each process that has none."""
    from rich.console import Console  # noqa: PLC0415 - only a table needs it
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=100_000)
    # on a terminal the command takes what the names leave
    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        header_style="",
        expand=console.is_terminal,
    )
    for column in COLUMNS:
        last = column == "COMMAND"
        table.add_column(column, no_wrap=True, overflow="ellipsis", ratio=1 if last else None)
    for why in found:
        pid, command = str(why.process.pid), printable(why.process.told[:1000])
        for report, status in entities(why):
            names = ("-",) * 4
            if report is not None:
                entity = report.entity
                names = (entity.layer, entity.service, entity.instance, entity.process)
            cells = (pid, *map(printable, names), printable(status), command)
            table.add_row(*map(Text, cells))
    with console.capture() as drawn:
        console.print(table)
    for line in drawn.get().splitlines():
        click.echo(line.rstrip())


def entities(why: Why) -> list[tuple[Any, str]]:
    """Return each entity of a process with what it is to it; one without for none."""
    short = ", texts cut short" if why.process.shortened else ""
    told = [(report, f"reported{short}") for report in why.leads]
    told += [(report, f"follows {leader}{short}") for report, leader in why.follows]
    detail = f": {why.detail}" if why.detail else ""
    return told or [(None, f"not reported: {why.reason.value}{detail}")]
