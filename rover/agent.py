"""The agent: builds every part, states in which order they start and stop, owns nothing else."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Final

from rover import __version__, metrics
from rover.clock import NANOSECONDS
from rover.config.settings import kubernetes_active
from rover.discovery.census import Census
from rover.discovery.cgroup_rounds import trees_here
from rover.discovery.feed import Feed
from rover.discovery.loop import Discovery
from rover.discovery.procfs import ProcReader
from rover.errors import ProbeError, RoverError
from rover.explain.story import Explainer
from rover.foreign.figures import figures_of
from rover.foreign.reads import ForeignReads
from rover.guard import Guard
from rover.identity import AgentIdentity
from rover.judges import judges, looks_for_agents, redaction_of
from rover.log_level import LogLevel
from rover.naming.host.judge import SensorNews
from rover.naming.host_facts import Host
from rover.naming.user_names import UserNames
from rover.probes import pid_namespace, settling
from rover.probes.programs import Way
from rover.profiling.support import Supports
from rover.reporter.reporter import Reporter
from rover.status.answers import AgentAnswers
from rover.status.overview import NO_WAY, About
from rover.status.service import StatusService
from rover.stopping import StopRequest
from rover.table import Table
from rover.this_machine import machine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rover.config.settings import Settings
    from rover.k8s.cluster import Cluster
    from rover.model import Changes
    from rover.probes.attaching import Attaching
    from rover.probes.settling import Probes
    from rover.profiling.profiler import Profiler
    from rover.profiling.records import Sampler
    from rover.profiling.watcher import Watcher

log = logging.getLogger("rover.agent")

STOP_WITHIN: Final = 4.0
"""Seconds for the last report and the end of all threads; supervisors give up after 5 or more."""
LAST_PROFILES: Final = 0.6
"""Share of them for naming and sending the last samples, where a process is profiled: most."""
WATCHER_STOP: Final = 0.5
"""Seconds for the end of the watcher, which keeps nothing."""


class Agent:
    """One agent on one host, from `start` to `stop`; made in the main thread."""

    def __init__(
        self,
        settings: Settings,
        *,
        watch: Callable[[Changes], None] | None = None,
        stopping: StopRequest | None = None,
        origins: Mapping[str, object] | None = None,
        attaching: Attaching | None = None,
    ) -> None:
        """Hold what to build from.

        Args:
            settings: the effective configuration.
            watch: is told of every change beside the reporter, for display.
            stopping: set to ask for the agent's end, and by the agent where a defect ends it; one
                of its own where none is given.
            origins: where each key was set, for who asks why a process is not reported.
            attaching: what attaches the programs already, the agent's from now on; None: the agent
                does so itself.
        """
        self._settings = settings
        self._watch = watch
        self._origins = origins or {}
        self._attaching = attaching
        self._defect: BaseException | None = None
        self._guard = Guard()
        self._stopping = stopping or StopRequest()
        self._began = time.time()
        self._undo: list[Callable[[], object]] = []
        self._stop_by = 0.0
        """time.monotonic() at which all should have ended."""

    def start(self) -> None:
        """Start all parts; programs are attached before the first scan, so that none is missed.

        Raises:
            StateError: another agent runs on this host, or the state directory cannot be used.
            ProbeError: eBPF is required and does not work.
            BackendError: the backend's address or credentials cannot be used.
            KubernetesError: the cluster is to be asked and there are no credentials for it.
            RoverError: the status address cannot be served.
        """
        began = time.monotonic()
        try:
            self._start()
        except BaseException:  # whatever stopped the start, what did start is undone
            self._unwind()
            raise
        if self._stopping.is_set():
            return
        log.info(
            "started version=%s agent_id=%s backend=%s ebpf=%s kubernetes=%s seconds=%.2f",
            __version__,
            self.agent_id,
            self._settings.core.backend.addr,
            self._way.replace(" ", "_"),
            "active" if kubernetes_active(self._settings, os.environ) else "inactive",
            time.monotonic() - began,
        )

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
        self._unwind()
        if self._defect is not None:
            raise RoverError(
                f"the agent ended by a defect: {self._defect!r}; the log has the traceback"
            ) from self._defect
        log.info("stopped")

    def _start(self) -> None:
        settings = self._settings
        if self._attaching:
            self._undo.append(self._attaching.abandon)
        identity = AgentIdentity.acquire(settings.core.state_dir, machine(settings))
        self._undo.append(identity.close)
        self.agent_id = identity.id

        status = StatusService(settings.status.addr, settings.core.state_dir)
        self._undo.append(status.close)

        supports = Supports(active=settings.profiling.active)
        self._undo.append(supports.close)
        self.reporter = Reporter(
            settings.core.backend,
            settings.process_discovery,
            identity.id,
            guard=self._guard,
            supports=supports.supports_profiling,
        )
        self.reporter.start()
        self._undo.append(lambda: self.reporter.stop(self._time_left()))

        # its child has begun by the time that the programs are attached
        reads = ForeignReads()
        reads.start()
        self._undo.append(reads.stop)

        probes = self._attach()
        for way in (*Way, NO_WAY):
            metrics.EBPF.labels(way).set(way == self._way)
        metrics.NESTED_PIDS.set(not pid_namespace.is_hosts())
        if self._stopping.is_set():
            self._undo.extend([probes.close] if probes else [])
            return
        host = Host(self.agent_id, users=UserNames(guard=self._guard))
        self._undo.append(host.users.close)
        judge, cluster = judges(settings, host, reads, self._post, self._guard)
        reader = ProcReader(
            redaction=redaction_of(settings),
            strings=reads,
            with_place=looks_for_agents(settings),
        )
        feed = Feed()
        census = Census(
            table=Table(),
            reader=reader,
            judge=judge,
            probes=probes,
            settle_time=settings.process_discovery.settle_time,
            look_period=settings.process_discovery.reconcile_period,
            trees=trees_here(reader.mounts(), reader.cgroup(os.getpid()) or ""),
            own_pids=reads.own_pids,
            guard=self._guard,
            feed=feed,
        )
        self.discovery = Discovery(
            census=census,
            judge=judge,
            probes=probes,
            settings=settings.process_discovery,
            publish=self._publish,
            failed=self._fail,
            scanned=self.reporter.complete,
            guard=self._guard,
        )
        reads.listen(lambda: self._post(SensorNews()))
        if cluster:
            cluster.start()
            self._undo.append(cluster.stop)
            host.name = cluster.node_name
        self.discovery.start()
        self._undo.append(lambda: self.discovery.stop(self._time_left() / 2))
        if settings.profiling.active:
            profiler, watcher = self._profiling()
            profiler.start()
            self._undo.append(lambda: profiler.stop(self._time_left() * LAST_PROFILES))
            watcher.start()
            self._undo.append(lambda: watcher.stop(WATCHER_STOP))

        self._undo.append(metrics.collect_from(self.discovery.figures))
        self._undo.append(metrics.collect_from(lambda: figures_of(reads)))
        log_level = LogLevel(settings.logger.level)
        self._undo.append(log_level.close)
        self.answers = AgentAnswers(
            self.discovery,
            self.reporter,
            cluster,
            reads=reads,
            about=self._about(cluster),
            guard=self._guard,
            explainer=Explainer(judge, self.reporter.entity, self._origins, self._guard),
            feed=feed,
        )
        names = (*settings.status.hosts, settings.process_discovery.kubernetes.node_name)
        status.serve(self.answers, names, log_level=log_level)

    def _profiling(self) -> tuple[Profiler, Watcher]:
        """Build what carries out the backend's profiling tasks, and what makes tasks of policies.

        Nothing is loaded without a task.
        """
        # what runs is reported first
        from rover.directory import Directory  # noqa: PLC0415
        from rover.profiling.continuous import Continuous  # noqa: PLC0415
        from rover.profiling.profiler import Profiler  # noqa: PLC0415
        from rover.profiling.watcher import Watcher  # noqa: PLC0415

        settings = self._settings.profiling
        directory = Directory(self.reporter, self.discovery)
        profiler = Profiler(
            settings,
            self.agent_id,
            backend=self.reporter,
            members=directory.members,
            make_sampler=self._sampler,
            guard=self._guard,
        )
        continuous = Continuous(
            settings.continuous, settings.check_interval, self.reporter, directory
        )
        return profiler, Watcher(continuous, profiler.begin, self.reporter, self._guard)

    def _sampler(self) -> Sampler:
        # most agents never sample anything
        from rover.profiling.sampling import KernelSampler  # noqa: PLC0415

        period = self._settings.profiling.task.on_cpu.dump_period
        return KernelSampler(round(period * NANOSECONDS), given_up=self._stopping.is_set)

    def _about(self, cluster: Cluster | None) -> About:
        return About(
            agent_id=self.agent_id,
            version=__version__,
            pid=os.getpid(),
            started=self._began,
            way=self._way,
            ebpf=self._ebpf,
            kubernetes=cluster is not None,
            node=cluster.node_name if cluster else "",
        )

    def _attach(self) -> Probes | None:
        """Attach the programs; without them, say so aloud and go on unless they are required."""
        try:
            probes = settling.attach(self._stopping.is_set, self._attaching)
        except ProbeError as error:
            self._ebpf, self._way = str(error).partition("\n")[0], NO_WAY
            if self._stopping.is_set():
                return None
            if self._settings.process_discovery.require_ebpf:
                raise
            log.warning(
                "eBPF does not work here, processes are found by scanning every %g s: %s",
                self._settings.process_discovery.scanner.period,
                error,
            )
            return None
        loaded = probes.loaded
        why = f", not raw ones: {loaded.not_better}" if loaded.not_better else ""
        scope = "" if loaded.of_host else f"; {pid_namespace.BEYOND_SIGHT}"
        self._ebpf, self._way = f"attached by {loaded.way}{why}{scope}", loaded.way
        return probes

    def _post(self, news: object) -> bool:
        return self.discovery.post(news)

    def _publish(self, changes: Changes) -> None:
        self.reporter.publish(changes)
        if self._watch:
            self._watch(changes)

    def _fail(self, error: BaseException) -> None:
        self._defect = error
        self._stopping.set()

    def _time_left(self) -> float:
        """Give the seconds that are left of a stop; enough for one call in any case."""
        return max(self._stop_by - time.monotonic(), 1.0)

    def _unwind(self) -> None:
        self._stop_by = time.monotonic() + STOP_WITHIN
        while self._undo:
            undo = self._undo.pop()
            try:
                undo()
            except Exception as error:  # the parts below it must still come to their end
                log.exception("defect while stopping; please report it")
                self._defect = self._defect or error
