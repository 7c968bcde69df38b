"""``rover ps``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from rover.cli.cells import filled
from rover.cli.choice import Where, chosen
from rover.cli.logs import write_logs
from rover.cli.options import configured, tell
from rover.cli.output import as_json, formed, watched
from rover.cli.processes import REASONS, Wanted, names, table
from rover.cli.terminal import Screen, complain, screen, show
from rover.cli.unknown_pid import hint
from rover.cli.watching import FOR_PROGRAMS, watch
from rover.errors import RoverError
from rover.status.client import NotAskedError, ask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rover.config.load import Loaded

KERNEL_THREAD: Final = REASONS["kernel-thread"]


@click.command()
@configured
@click.argument("pids", metavar="[PID]...", nargs=-1, type=int)
@click.option("-a", "--all", "everything", is_flag=True, help="Kernel threads as well.")
@formed(
    "table",
    "wide",
    "json",
    "name",
    told="wide: all columns in full. name: LAYER/SERVICE/INSTANCE/PROCESS of each entity.",
)
@chosen
@click.option(
    "--reason", multiple=True, type=click.Choice(list(REASONS)), help="With such a verdict."
)
@watched
@click.option("--scan", "scanned", is_flag=True, help="Ask no agent: scan, by this configuration.")
def ps(
    loaded: Loaded,
    *,
    pids: tuple[int, ...],
    everything: bool,
    output: str,
    where: Where,
    reason: tuple[str, ...],
    again: bool,
    every: float,
    scanned: bool,
) -> None:
    """Show what is reported and as what, and why the rest is not.

    The running agent is asked; where none runs, or this user may not ask it, one scan tells what an
    agent with this configuration would report. Options of one kind add up, of several kinds all
    must hold.
    """
    tell(loaded)
    write_logs("DEBUG" if loaded.settings.logger.level == "DEBUG" else "WARN", tracebacks=False)
    wanted = Wanted(pids, where, reason)
    threads = bool(everything or pids or KERNEL_THREAD in {REASONS[each] for each in reason})

    def look(tell_why: Callable[[str], None] = _nobody) -> Found:
        found = _scanned(loaded) if scanned else _asked(loaded, tell_why)
        kept = [
            each
            for each in found.processes
            if (threads or each["reason"] != KERNEL_THREAD) and wanted.holds(each)
        ]
        return Found(kept, found.instead)

    if again:
        watch(Looks(look, output).lines, every, output=output)
        return
    processes, _ = look(complain)
    missing = set(pids) - {each["pid"] for each in processes} if wanted == Wanted(pids) else set()
    if output == "json":
        show([as_json(processes)])
    elif processes or not missing:
        show(_lines(processes, output, screen()))
    if not processes and wanted not in {Wanted(), Wanted(pids)}:
        complain("no process is such; without its options rover ps shows all")
    if missing:
        raise RoverError(
            "\n".join(f"no process has pid {pid}{hint(pid)}" for pid in sorted(missing))
        )


class Found(NamedTuple):
    """Processes, and who tells of them."""

    processes: list[Mapping[str, Any]]
    instead: str = ""
    """Why it is a scan where the agent was to be asked; empty where it was."""


def _nobody(_why: str) -> None:
    """Hear why it is a scan, and tell nobody."""


def _asked(loaded: Loaded, tell_why: Callable[[str], None]) -> Found:
    """Ask the running agent; scan where there is none for this user, and say why before that."""
    try:
        told = ask(loaded.settings.core.state_dir, "/processes").json()
    except NotAskedError as error:
        instead = f"{error}; scanning instead"
        tell_why(instead)
        return Found(_scanned(loaded).processes, instead)
    if "processes" not in told:
        raise RoverError(f"the agent does not tell: {told.get('error', told)}")
    return Found(told["processes"])


def _scanned(loaded: Loaded) -> Found:
    from rover.cli.scan import scan  # noqa: PLC0415 - mostly an agent is there to be asked
    from rover.discovery.once import all_of  # noqa: PLC0415
    from rover.explain.entities import listed  # noqa: PLC0415

    found = scan(loaded.settings, lambda census, _: all_of(census))
    return Found([listed(why, lambda _: None) for why in found])


class Looks:
    """Looks that follow each other: who tells of the processes may change between two of them."""

    def __init__(self, look: Callable[[], Found], output: str) -> None:
        """Begin.

        Args:
            look: finds the processes.
            output: the form of the lines.
        """
        self._look = look
        self._output = output
        self._said = ""

    def lines(self, shown: Screen) -> list[str]:
        """Look once; people are told above why it is a scan, programs' users on standard error."""
        processes, instead = self._look()
        if self._output in FOR_PROGRAMS:
            if instead not in {"", self._said} and not shown.moves:
                complain(instead)
            self._said = instead
            if self._output == "json":
                return [as_json(processes, line=True)]
        lines = _lines(processes, self._output, shown)
        if self._output in FOR_PROGRAMS or not instead:
            return lines
        return [*filled("", instead, shown.width, 0), "", *lines]


def _lines(processes: list[Mapping[str, Any]], output: str, shown: Screen) -> list[str]:
    if output == "name":
        return names(processes)
    return table(processes, shown.width, wide=output == "wide")
