"""``rover ps``."""

from __future__ import annotations

import json
import logging
import queue
from typing import TYPE_CHECKING, Any

import click

from rover.agent import judges, looks_for_agents, machine, redaction_of
from rover.cli.logs import write_logs
from rover.cli.options import configured, tell
from rover.cli.text import printable
from rover.discovery.once import scan_once
from rover.discovery.procfs import ProcReader
from rover.errors import RoverError, StateError
from rover.explain import explain
from rover.foreign.reads import ForeignReads
from rover.guard import Guard
from rover.identity import read_agent_id
from rover.model import Reason
from rover.naming.host.judge import SensorNews
from rover.naming.host_facts import Host

if TYPE_CHECKING:
    from rover.config.load import Loaded
    from rover.config.settings import Settings
    from rover.k8s.cluster import Cluster
    from rover.naming.judge import Judge
    from rover.table import Why

log = logging.getLogger("rover.cli")

LISTED_WITHIN = 10.0
"""Seconds that the API server may take to list pods and services."""
UNKNOWN_ID = "unknown"
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
    found = scan(loaded.settings)
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


def scan(settings: Settings) -> list[Why]:
    """Explain every process as an agent with these settings would, asking the cluster as it does.

    Raises:
        KubernetesError: the cluster is to be asked, and there are no credentials for it.
    """
    news: queue.SimpleQueue[object] = queue.SimpleQueue()
    host = Host(known_id(settings))
    reads = ForeignReads()
    reads.listen(lambda: news.put(SensorNews()))
    guard = Guard()
    judge, cluster = judges(settings, host, reads, news.put, guard)
    reader = ProcReader(
        redaction=redaction_of(settings), strings=reads, with_place=looks_for_agents(settings)
    )
    reads.start()
    try:
        return _scan(judge, cluster, host, reader, news, guard=guard)
    finally:
        reads.stop()


def _scan(
    judge: Judge,
    cluster: Cluster | None,
    host: Host,
    reader: ProcReader,
    news: queue.SimpleQueue[object],
    *,
    guard: Guard,
) -> list[Why]:
    if cluster is None:
        return scan_once(judge, reader, news, quiet=0.0, guard=guard)
    cluster.start()
    host.name = cluster.node_name
    try:
        if not cluster.wait_listed(LISTED_WITHIN):
            for watch in cluster.states():
                if not watch.listed:
                    log.warning(
                        "%s are not listed after %g s, so pods are shown without them: %s",
                        watch.resource,
                        LISTED_WITHIN,
                        watch.fault or "no answer",
                    )
        return scan_once(judge, reader, news, guard=guard)
    finally:
        cluster.stop()


def known_id(settings: Settings) -> str:
    """Return the agent's id, or a word in its place where this user may not read it."""
    try:
        return read_agent_id(settings.core.state_dir, machine(settings))
    except StateError as error:
        log.warning("%s; .Rover.InstanceID is shown as %s", error, UNKNOWN_ID)
        return UNKNOWN_ID


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
