"""``rover start``."""

from __future__ import annotations

import contextlib
import logging
import queue
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from rover.agent import Agent
from rover.cli.logs import write_logs
from rover.cli.options import configured
from rover.stopping import StopRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rover.config.load import Loaded
    from rover.config.settings import Settings
    from rover.model import Changes

log = logging.getLogger("rover.cli")


@click.command()
@configured
@click.option(
    "--embedded", is_flag=True, help="Report to a backend in this command, and show what it holds."
)
def start(loaded: Loaded, *, embedded: bool) -> None:
    """Discover this host's processes and report them, until SIGTERM or Ctrl-C."""
    settings = loaded.settings
    write_logs(settings.logger.level)
    for warning in loaded.warnings:
        log.warning("configuration: %s", warning)
    if loaded.ignored:
        log.info("configuration of other modules ignored keys=%s", ",".join(loaded.ignored))
    if embedded:
        _run_embedded(settings)
    else:
        _run(settings)


def _run(settings: Settings) -> None:
    agent = Agent(settings)
    with _until_signalled(agent.request_stop):
        agent.start()
        try:
            agent.wait()
        finally:
            agent.stop()


def _run_embedded(settings: Settings) -> None:
    # drawn only here: an agent alone need not hold a server and what draws tables
    from rover.backend import BackendOptions, EmbeddedBackend  # noqa: PLC0415
    from rover.cli.live import show  # noqa: PLC0415

    with EmbeddedBackend(BackendOptions()) as backend:
        core = settings.core
        core = replace(core, backend=replace(core.backend, addr=backend.address, enable_tls=False))
        changes: queue.SimpleQueue[Changes] = queue.SimpleQueue()
        stop = StopRequest()
        agent = Agent(replace(settings, core=core), watch=changes.put, stopping=stop)
        with _until_signalled(stop.set):
            agent.start()
            try:
                period = settings.process_discovery.heartbeat_period
                show(backend.state, changes, stop, gone_after=2.5 * period)
            finally:
                agent.stop()


@contextlib.contextmanager
def _until_signalled(stop: Callable[[], None]) -> Iterator[None]:
    """Let SIGTERM and SIGINT ask for an orderly end, which is over within 5 s; more change nothing.

    Ctrl-C reaches a whole group, and `timeout` sends twice: a second one is no sign of impatience.
    """

    def ask(_number: int, _frame: object) -> None:
        stop()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, known in before.items():
            signal.signal(number, known)
