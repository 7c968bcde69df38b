"""Which judge names the processes of this host, by the settings, and what it takes to ask it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from rover.config.settings import ScanMode, kubernetes_active
from rover.naming.host.finders import HostFinders
from rover.naming.host.judge import HostJudge
from rover.naming.user_judge import UserJudge, UserNews
from rover.redaction import Redaction
from rover.sensor import Sensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from rover.config.filters import Filter
    from rover.config.settings import AnalyzerSettings, RegexFinderSettings, Settings
    from rover.foreign.reads import ForeignReads
    from rover.gotemplate import Template
    from rover.guard import Guard
    from rover.k8s.cluster import Cluster
    from rover.naming.host_facts import Host
    from rover.naming.judge import Judge

_USER: Final = "User"
"""What templates call the name of a process's user."""


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
        return _with_users(_host_judge(settings, host, reads), settings, host, post), None
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
    return _with_users(ClusterJudge(join, outside, guard), settings, host, post), cluster


def redaction_of(settings: Settings) -> Redaction:
    """Build what decides how much of a process's own words leaves the host."""
    discovery = settings.process_discovery
    return Redaction(discovery.command_line, discovery.command_line_secrets)


def looks_for_agents(settings: Settings) -> bool:
    """Tell whether any process may be named by what a language agent in it says."""
    discovery = settings.process_discovery
    on_host = discovery.kubernetes.host_processes or not kubernetes_active(settings, os.environ)
    return on_host and discovery.scanner.mode is not ScanMode.REGEX


def names_users(settings: Settings) -> bool:
    """Tell whether any name or filter is made of a user's name."""
    discovery = settings.process_discovery
    rules: list[RegexFinderSettings | AnalyzerSettings] = [*discovery.scanner.regex]
    rules += discovery.kubernetes.analyzers
    parts: list[Template | Filter | None] = []
    for rule in rules:
        parts += (rule.service_name, rule.instance_name, rule.process_name, rule.labels)
    parts += (each for rule in discovery.kubernetes.analyzers for each in rule.filters)
    return any(part is not None and _USER in part.uses for part in parts)


def _with_users(
    judge: Judge, settings: Settings, host: Host, post: Callable[[object], object]
) -> Judge:
    if not names_users(settings):
        return judge
    host.users.listen(lambda: post(UserNews()))
    return UserJudge(judge, host.users)


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
