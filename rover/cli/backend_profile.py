"""``rover backend profile``: a profiling task at a running backend, and what came of it."""

from __future__ import annotations

import http.client
import json
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import click

from rover.errors import BackendError, ConfigError
from rover.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTROL: Final = 12_800
"""Port of the control interface in the documentation's examples."""
LOOK: Final = 0.5
"""Seconds between two looks at what has come."""
LATE: Final = 15.0
"""Seconds after the end of a task in which its last samples come."""
DONE: Final = 200
_ON, _LAST, _MORE, _NONE = "├─ ", "└─ ", "│  ", "   "

Json = dict[str, Any]


@click.command(short_help="have a process profiled by its agent, and show where its time goes")
@click.argument("process")
@click.option(
    "--control",
    metavar="PORT",
    type=click.IntRange(1, 65_535),
    default=CONTROL,
    show_default=True,
    help="The backend's control interface: the port that it was started with as --control.",
)
@click.option(
    "--seconds",
    type=click.IntRange(1, 86_400),
    default=60,
    show_default=True,
    help="For how long; the agent hears of it within its profiling.check_interval.",
)
@click.option("--off-cpu", is_flag=True, help="Where it waits, instead of where it runs.")
@click.option(
    "--least",
    type=click.FloatRange(0, 100),
    default=1.0,
    show_default=True,
    help="Leave out what takes less than so many percent.",
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["tree", "folded", "json"]),
    default="tree",
    show_default=True,
    help="How to print.",
)
def profile(
    *, process: str, control: int, seconds: int, off_cpu: bool, least: float, output: str
) -> None:
    """Have a process profiled by its agent, and show where its time goes.

    PROCESS is the name or the pid of a process that an agent reports to a backend on this host:
    `rover backend --control 12800`, or `rover start --embedded --control 12800`.

    Ctrl-C ends the wait and shows what has come so far; the task itself goes on.
    """
    question: Json = {"target": "OFF_CPU" if off_cpu else "ON_CPU", "seconds": seconds}
    if process.isascii() and process.isdigit():
        question["pid"] = int(process)
    else:
        question["process"] = process
    task = ask(control, "/profiling/tasks", question | {"overlapping": True})["task"]
    try:
        found = _wait(control, task)
    except KeyboardInterrupt:
        found = ask(control, "/profiling/profile", {"task_id": task["id"]})
    if not found["count"]:
        raise BackendError(
            f"no samples of {process} came in: the process was idle, or its agent has not heard of "
            "the task, does not profile (profiling.active) or cannot; its log says which"
        )
    match output:
        case "json":
            click.echo(json.dumps(found))
        case "folded":
            click.echo("\n".join(folded(found["roots"], by_time=off_cpu)))
        case _:
            click.echo("\n".join(drawn(found, least)))


def ask(port: int, path: str, question: Json) -> Json:
    """Ask the control interface of a backend on this host.

    Raises:
        BackendError: Nobody answers there.
        ConfigError: What was asked for cannot be.
    """
    where = f"127.0.0.1:{port}"
    connection = http.client.HTTPConnection(where, timeout=10)
    try:
        connection.request("POST", path, body=json.dumps(question))
        answer = connection.getresponse()
        told: Json = json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise BackendError(
            f"no backend's control interface answers at {where}: {error or type(error).__name__}; "
            f"start one with --control {port}"
        ) from error
    finally:
        connection.close()
    if answer.status != DONE:
        raise ConfigError(str(told.get("error", f"{where} answers {answer.status}")))
    return told


def drawn(found: Json, least: float) -> Iterator[str]:
    """Draw a profile as a tree, each line with its share of the whole.

    Args:
        found: as the control interface gives it.
        least: percent below which a function is left out.
    """
    by_time = found["task"]["target"] == "OFF_CPU"
    whole = found["ns"] if by_time else found["count"]
    amount = f"{found['count']:,} switches, {found['ns'] / 1e9:.3f} s off the CPU"
    if not by_time:
        amount = f"{found['count']:,} dumps"
    yield f"{found['task']['target']}: {amount}"
    yield from _lines(found["roots"], "ns" if by_time else "count", whole or 1, least, "")


def folded(nodes: list[Json], *, by_time: bool) -> Iterator[str]:
    """Give collapsed stacks: frames from the outermost on with semicolons, then how often.

    Args:
        nodes: the roots of a profile.
        by_time: whether the amount is nanoseconds.
    """
    own = "own_ns" if by_time else "own_count"
    open_nodes = [(node, "") for node in reversed(nodes)]
    while open_nodes:
        node, above = open_nodes.pop()
        path = f"{above}{_shown(node).replace(';', ':')}"
        if node[own]:
            yield f"{path} {node[own]}"
        open_nodes += [(child, f"{path};") for child in reversed(node["children"])]


def _lines(nodes: list[Json], amount: str, whole: int, least: float, indent: str) -> Iterator[str]:
    """Draw nodes below each other; a function that only calls another stands above it."""
    kept = [node for node in nodes if 100 * node[amount] >= least * whole]
    for number, node in enumerate(kept):
        branch, below = (_LAST, _NONE) if number == len(kept) - 1 else (_ON, _MORE)
        while True:
            share = 100 * node[amount] / whole
            yield f"{indent}{branch}{share:5.1f}%  {_shown(node)}"
            only = node["children"][0] if len(node["children"]) == 1 else None
            if only is None or only[amount] != node[amount]:
                break
            node, branch = only, below  # noqa: PLW2901 - down the chain
        yield from _lines(node["children"], amount, whole, least, indent + below)


def _shown(node: Json) -> str:
    """Fit a symbol into a line of a terminal."""
    name = printable(node["symbol"])
    return f"{name} [kernel]" if node["kernel"] else name


def _wait(control: int, task: Json) -> Json:
    """Wait until all has come."""
    end = task["start"] / 1_000 + task["seconds"]
    bar = sys.stderr.isatty()
    while True:
        found = ask(control, "/profiling/profile", {"task_id": task["id"]})
        now = time.time()
        if bar:
            left = max(0, end - now)
            click.echo(f"\r{left:4.0f} s left, {found['count']:,} samples ", err=True, nl=False)
        last = max((each["end"] for each in found["schedules"]), default=0) / 1_000
        if last >= end or now > end + LATE:
            if bar:
                click.echo(err=True)
            return found
        time.sleep(LOOK)
