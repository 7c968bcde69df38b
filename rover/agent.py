"""The agent: builds every part, states in which order they start and stop, owns nothing else."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Final

from rover import __version__
from rover.discovery.agent_sensor import AgentSensor
from rover.discovery.census import Census
from rover.discovery.finders import HostFinders
from rover.discovery.host import Host
from rover.discovery.host_judge import HostJudge
from rover.discovery.loop import Discovery
from rover.discovery.procfs import ProcReader
from rover.errors import ProbeError, RoverError
from rover.identity import AgentIdentity
from rover.probes import settling
from rover.reporter import Reporter
from rover.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from rover.config.settings import Settings
    from rover.discovery.judge import Judge
    from rover.model import Changes
    from rover.probes.settling import Probes

log = logging.getLogger("rover.agent")

STOP_WITHIN: Final = 4.0
"""Seconds for the last report and the end of all threads; supervisors give up after 5 or more."""


class Agent:
    """One agent on one host, from `start` to `stop`; made in the main thread."""

    def __init__(
        self, settings: Settings, *, watch: Callable[[Changes], None] | None = None
    ) -> None:
        """Hold what to build from.

        Args:
            settings: the effective configuration.
            watch: is told of every change beside the reporter, for display.
        """
        self._settings = settings
        self._watch = watch
        self._defect: BaseException | None = None
        self._stopping = threading.Event()
        self._undo: list[Callable[[], None]] = []

    def start(self) -> None:
        """Start all parts: what is found first is what the kernel would tell later.

        Raises:
            StateError: another agent runs on this host, or the state directory cannot be used.
            ProbeError: eBPF is required and does not work.
            BackendError: the backend's address or credentials cannot be used.
        """
        began = time.monotonic()
        settings = self._settings
        try:
            identity = AgentIdentity.acquire(settings.core.state_dir)
            self._undo.append(identity.close)
            reporter = self._report(identity.id)
            probes = self._attach()
            discovery = self._discover(identity.id, probes, reporter)
        except BaseException:
            self.stop()
            raise
        log.info(
            "started version=%s agent_id=%s backend=%s discovery=%s seconds=%.2f",
            __version__,
            identity.id,
            settings.core.backend.addr,
            "eBPF" if probes else "scan",
            time.monotonic() - began,
        )
        self.discovery = discovery
        self.reporter = reporter

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until something asks for the end; tell whether it did."""
        return self._stopping.wait(timeout)

    def request_stop(self) -> None:
        """Let `wait` return; safe in a signal handler."""
        self._stopping.set()

    def stop(self) -> None:
        """Stop what was started, last first: discovery tells its last, then the reporter does.

        Raises:
            RoverError: a part had ended by a defect.
        """
        while self._undo:
            self._undo.pop()()
        if self._defect is not None:
            raise RoverError(
                f"the agent ended by a defect: {self._defect!r}; the log has the traceback"
            ) from self._defect
        log.info("stopped")

    def _report(self, agent_id: str) -> Reporter:
        settings = self._settings
        reporter = Reporter(settings.core.backend, settings.process_discovery, agent_id)
        reporter.start()

        def stop() -> None:
            reporter.stop(STOP_WITHIN / 2)

        self._undo.append(stop)
        return reporter

    def _attach(self) -> Probes | None:
        try:
            return settling.attach()
        except ProbeError as error:
            if self._settings.process_discovery.require_ebpf:
                raise
            log.warning(
                "eBPF does not work here, processes are found by scanning every %g s: %s",
                self._settings.process_discovery.scanner.period,
                error,
            )
            return None

    def _discover(self, agent_id: str, probes: Probes | None, reporter: Reporter) -> Discovery:
        settings = self._settings.process_discovery
        judge = host_judge(self._settings, agent_id)
        census = Census(
            table=Table(),
            reader=ProcReader(),
            judge=judge,
            probes=probes,
            settle_time=settings.settle_time,
            own_pids=frozenset({os.getpid()}),
        )
        discovery = Discovery(
            census=census,
            judge=judge,
            probes=probes,
            settings=settings,
            publish=self._publisher(reporter),
            failed=self._fail,
        )
        discovery.start()
        self._undo.append(lambda: discovery.stop(STOP_WITHIN / 2))
        return discovery

    def _publisher(self, reporter: Reporter) -> Callable[[Changes], None]:
        watch = self._watch
        if watch is None:
            return reporter.publish

        def publish(changes: Changes) -> None:
            reporter.publish(changes)
            watch(changes)

        return publish

    def _fail(self, error: BaseException) -> None:
        self._defect = error
        self._stopping.set()


def host_judge(settings: Settings, agent_id: str) -> Judge:
    """Build what names the processes of a bare host."""
    scanner = settings.process_discovery.scanner
    sensor = AgentSensor(scanner.agent_stale_after)
    finders = HostFinders(
        scanner,
        settings.process_discovery.ignore,
        Host(agent_id),
        sensor,
        settings.core.cluster_name,
    )
    return HostJudge(finders, sensor, scanner.period)
