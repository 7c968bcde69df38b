"""``rover ps``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import click

from rover.cli.logs import write_logs
from rover.cli.options import configured, tell
from rover.cli.processes import REASONS, Wanted, names, table
from rover.cli.terminal import Screen, screen, show, watch
from rover.errors import RoverError
from rover.status.client import NotAskedError, ask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rover.config.load import Loaded

KERNEL_THREAD: Final = REASONS["kernel-thread"]


@click.command()
@configured
@click.argument("pids", metavar="[PID]...", nargs=-1, type=int)
@click.option("-a", "--all", "everything", is_flag=True, help="Kernel threads as well.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "wide", "json", "name"]),
    default="table",
    show_default=True,
    help="wide: all columns in full. name: LAYER/SERVICE/INSTANCE/PROCESS of each entity.",
)
@click.option("--service", multiple=True, metavar="PATTERN", help="Of such a service; * and ?.")
@click.option("--namespace", multiple=True, metavar="NAME", help="Of pods in a namespace.")
@click.option("--container", multiple=True, metavar="NAME|ID", help="Of such a container.")
@click.option(
    "--reason", multiple=True, type=click.Choice(list(REASONS)), help="With such a verdict."
)
@click.option("-w", "--watch", "again", is_flag=True, help="Show it every 2 s, until Ctrl-C.")
@click.option("--scan", "scanned", is_flag=True, help="Ask no agent: scan, by this configuration.")
def ps(
    loaded: Loaded,
    *,
    pids: tuple[int, ...],
    everything: bool,
    output: str,
    again: bool,
    scanned: bool,
    **choice: tuple[str, ...],
) -> None:
    """Show what is reported and as what, and why the rest is not.

    The running agent is asked; where none runs, or this user may not ask it, one scan tells what an
    agent with this configuration would report. Options of one kind add up, of several kinds all
    must hold.
    """
    tell(loaded)
    write_logs("DEBUG" if loaded.settings.logger.level == "DEBUG" else "WARN", tracebacks=False)
    wanted = Wanted(
        pids, choice["service"], choice["namespace"], choice["container"], choice["reason"]
    )
    source = Source(loaded, scanned=scanned)

    def found() -> list[Mapping[str, Any]]:
        kept = pids or KERNEL_THREAD in {REASONS[each] for each in wanted.reasons}
        shown = source.processes(everything=bool(everything or kept))
        return [each for each in shown if wanted.holds(each)]

    if again:
        watch(lambda shown: _lines(found(), output, shown), 2.0)
        return
    processes = found()
    missing = set(pids) - {each["pid"] for each in processes}
    if missing and wanted == Wanted(pids):
        raise RoverError(f"no process has pid {', '.join(map(str, sorted(missing)))}")
    if output == "json":
        click.echo(json.dumps(processes, indent=2, ensure_ascii=False))
    else:
        show(_lines(processes, output, screen()))


def _lines(processes: list[Mapping[str, Any]], output: str, shown: Screen) -> list[str]:
    if output == "json":
        return [json.dumps(processes, ensure_ascii=False)]
    if output == "name":
        return names(processes)
    return table(processes, shown.width, wide=output == "wide")


class Source:
    """Whom to ask: the running agent, else /proc."""

    def __init__(self, loaded: Loaded, *, scanned: bool) -> None:
        """Begin with the agent, unless a scan is asked for."""
        self._loaded = loaded
        self._scanned = scanned

    def processes(self, *, everything: bool) -> list[Mapping[str, Any]]:
        """Return all processes, with kernel threads or without."""
        if not self._scanned:
            try:
                told = ask(self._loaded.settings.core.state_dir, "/processes").json()
            except NotAskedError as error:
                self._scanned = True
                click.echo(f"{error}; scanning instead", err=True)
            else:
                if "processes" not in told:
                    raise RoverError(f"the agent does not tell: {told.get('error', told)}")
                return _without_threads(told["processes"], everything=everything)
        return _without_threads(self._scan(), everything=everything)

    def _scan(self) -> list[Mapping[str, Any]]:
        from rover.cli.scan import scan  # noqa: PLC0415 - mostly an agent is there to be asked
        from rover.discovery.once import all_of  # noqa: PLC0415
        from rover.explain import listed  # noqa: PLC0415

        found = scan(self._loaded.settings, lambda census, _: all_of(census))
        return [listed(why, lambda _: None) for why in found]


def _without_threads(
    processes: list[Mapping[str, Any]], *, everything: bool
) -> list[Mapping[str, Any]]:
    return [each for each in processes if everything or each["reason"] != KERNEL_THREAD]
