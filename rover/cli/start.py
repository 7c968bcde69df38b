"""``rover start``."""

from __future__ import annotations

import logging
import os
import queue
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from rover.cli.logs import stands_apart, write_logs
from rover.cli.options import configured
from rover.cli.signals import until_signalled
from rover.cli.systemd import Supervisor
from rover.host_limits import ensure_room
from rover.probes.attaching import Attaching
from rover.stopping import StopRequest

if TYPE_CHECKING:
    from rover.agent import Agent
    from rover.config.load import Loaded
    from rover.model import Changes
    from rover.probes.loading import Loading

log = logging.getLogger("rover.cli")


@click.command()
@configured
@click.option(
    "--embedded", is_flag=True, help="Report to a backend in this command, and show what it holds."
)
@click.option(
    "--control",
    "control_port",
    metavar="PORT",
    type=click.IntRange(0, 65_535),
    help="With --embedded: serve that backend's control interface on this port of 127.0.0.1.",
)
def start(loaded: Loaded, *, embedded: bool, control_port: int | None) -> None:
    """Discover this host's processes and report them, until SIGTERM or Ctrl-C."""
    if control_port is not None and not embedded:
        raise click.UsageError("--control is the embedded backend's: give --embedded as well")
    settings = loaded.settings
    write_logs(
        settings.logger.level,
        tracebacks=stands_apart(output=embedded),
        form=settings.logger.format,
        waits=False,
    )
    for warning in loaded.warnings:
        log.warning("configuration: %s", warning)
    if loaded.sets_nothing:
        log.warning("configuration: %s sets nothing that this agent reads", loaded.file)
    if loaded.unknown:
        log.warning("configuration: nobody knows the sections %s", ",".join(loaded.unknown))
    if loaded.ignored:
        log.info("configuration of other modules ignored keys=%s", ",".join(loaded.ignored))
    ensure_room()
    stop = StopRequest()
    # what compiles the programs since before the command was imported; None where nothing does
    loading: Loading | None = click.get_current_context().obj
    with until_signalled(stop):
        attaching = Attaching(loading, stop.is_set) if loading else None
        if embedded:
            _run_embedded(loaded, control_port, stop, attaching)
        else:
            _run(loaded, stop, attaching)


def _run(loaded: Loaded, stop: StopRequest, attaching: Attaching | None) -> None:
    from rover.agent import Agent  # noqa: PLC0415 - while the programs are compiled

    agent = Agent(loaded.settings, stopping=stop, origins=loaded.origins, attaching=attaching)
    supervisor = Supervisor(os.environ)
    agent.start()
    try:
        _watch_over(agent, stop, supervisor)
    finally:
        supervisor.stopping()
        agent.stop()


def _watch_over(agent: Agent, stop: StopRequest, supervisor: Supervisor) -> None:
    """Tell the supervisor how the agent fares, until the end is asked for.

    It is ready once its programs are attached, or it is known that they cannot be, and its first
    scan has begun. The backend is not waited for: the host's other services must not wait for it,
    and the agent goes on without it.
    """
    if stop.is_set():
        return
    supervisor.ready(_fares(agent))
    while not agent.wait(supervisor.period):
        health = agent.answers.health()
        if health.fine:
            supervisor.well(_fares(agent))
        else:
            told = ", ".join(f"{part} {state}" for part, state in health.brief.items())
            supervisor.ill(told)


def _fares(agent: Agent) -> str:
    """Tell in a line, for whoever may ask systemd, how events come in and how the session is."""
    ready = agent.answers.readiness().brief
    return f"eBPF: {ready['ebpf']}; session with the backend: {ready['session']}"


def _run_embedded(
    loaded: Loaded, control_port: int | None, stop: StopRequest, attaching: Attaching | None
) -> None:
    from rover.agent import Agent  # noqa: PLC0415 - while the programs are compiled

    # drawn only here: an agent alone need not hold a server and what draws tables
    from rover.backend import BackendOptions, EmbeddedBackend  # noqa: PLC0415
    from rover.cli.live import show  # noqa: PLC0415

    settings = loaded.settings
    with EmbeddedBackend(BackendOptions(control_port=control_port)) as backend:
        core = settings.core
        core = replace(core, backend=replace(core.backend, addr=backend.address, enable_tls=False))
        changes: queue.SimpleQueue[Changes] = queue.SimpleQueue()
        agent = Agent(
            replace(settings, core=core),
            watch=changes.put,
            stopping=stop,
            origins=loaded.origins,
            attaching=attaching,
        )
        _say("compiling and attaching the eBPF programs: a second or two")
        agent.start()
        _say("scanning what runs already")
        try:
            period = settings.process_discovery.heartbeat_period
            show(backend.state, changes, stop, gone_after=2.5 * period)
        finally:
            agent.stop()


def _say(progress: str) -> None:
    """Tell who waits at a terminal what is going on."""
    if sys.stdout.isatty():
        click.echo(f"{progress} …")
