"""Which judge names the processes of this host, by the settings, and what it takes to ask it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rover.config.settings import ScanMode, kubernetes_active
from rover.naming.host.finders import HostFinders
from rover.naming.host.judge import HostJudge
from rover.redaction import Redaction
from rover.sensor import Sensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from rover.config.settings import Settings
    from rover.foreign.reads import ForeignReads
    from rover.guard import Guard
    from rover.k8s.cluster import Cluster
    from rover.naming.host_facts import Host
    from rover.naming.judge import Judge


def judges(
    settings: Settings,
    host: Host,
    reads: ForeignReads,
    post: Callable[[object], object],
    guard: Guard,
) -> tuple[Judge, Cluster | None]:
    """Build what names processes, and where Kubernetes is active the cluster that it hears of.

    Args:
        settings: the effective configuration.
        host: the agent's host; takes the node's name once the cluster is started.
        reads: looks at the files of language agents.
        post: takes news of the cluster, for the judge's `apply`, or returns False where it has no
            room for it; called by several threads.
        guard: keeps the cluster's threads and the judge going where a step of theirs fails.
    """
    if not kubernetes_active(settings, os.environ):
        return _host_judge(settings, host, reads), None
    # a host without a cluster need not hold them
    from rover.k8s.cluster import Cluster  # noqa: PLC0415
    from rover.k8s.index import PodIndex  # noqa: PLC0415
    from rover.naming.cluster_judge import ClusterJudge  # noqa: PLC0415
    from rover.naming.pods.analyzers import Analyzers  # noqa: PLC0415
    from rover.naming.pods.join import PodJoin  # noqa: PLC0415

    kubernetes = settings.process_discovery.kubernetes
    analyzers = Analyzers(
        kubernetes, settings.process_discovery.ignore, host, settings.core.cluster_name
    )
    cluster = Cluster(kubernetes, post, with_env=analyzers.use_env, guard=guard)
    join = PodJoin(
        PodIndex(guard=guard),
        analyzers,
        list_again=cluster.list_pods_again,
        ask_owner=cluster.ask_owner,
        guard=guard,
    )
    outside = _host_judge(settings, host, reads) if kubernetes.host_processes else None
    return ClusterJudge(join, outside, guard), cluster


def redaction_of(settings: Settings) -> Redaction:
    """Build what decides how much of a process's own words leaves the host."""
    discovery = settings.process_discovery
    return Redaction(discovery.command_line, discovery.command_line_secrets)


def looks_for_agents(settings: Settings) -> bool:
    """Tell whether any process may be named by what a language agent in it says."""
    discovery = settings.process_discovery
    on_host = discovery.kubernetes.host_processes or not kubernetes_active(settings, os.environ)
    return on_host and discovery.scanner.mode is not ScanMode.REGEX


def _host_judge(settings: Settings, host: Host, reads: ForeignReads) -> HostJudge:
    scanner = settings.process_discovery.scanner
    sensor = Sensor(scanner.agent_stale_after, reads)
    finders = HostFinders(
        scanner,
        settings.process_discovery.ignore,
        host,
        sensor,
        settings.core.cluster_name,
        redaction=redaction_of(settings),
    )
    return HostJudge(finders, sensor, scanner.period)
