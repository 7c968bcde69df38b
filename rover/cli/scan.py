"""One scan of this host by a command, as an agent with its settings would make it."""

from __future__ import annotations

import logging
import queue
from typing import TYPE_CHECKING, Final, TypeVar

from rover.discovery.once import scan_once
from rover.discovery.procfs import ProcReader
from rover.errors import StateError
from rover.foreign.reads import ForeignReads
from rover.guard import Guard
from rover.identity import read_agent_id
from rover.judges import judges, looks_for_agents, redaction_of
from rover.naming.host.judge import SensorNews
from rover.naming.host_facts import Host
from rover.this_machine import machine

if TYPE_CHECKING:
    from collections.abc import Callable

    from rover.config.settings import Settings
    from rover.discovery.census import Census
    from rover.k8s.cluster import Cluster
    from rover.naming.judge import Judge

T = TypeVar("T")

log = logging.getLogger("rover.cli")

LISTED_WITHIN: Final = 10.0
"""Seconds that the API server may take to list pods and services."""
UNKNOWN_ID: Final = "unknown"


def scan(settings: Settings, tell: Callable[[Census, Judge], T]) -> T:
    """Look at every process as an agent with these settings would, asking the cluster as it does.

    Args:
        settings: the effective configuration.
        tell: makes of what was found what is wanted.

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
        if cluster is None:
            census = scan_once(judge, reader, news, quiet=0.0, guard=guard)
            return tell(census, judge)
        cluster.start()
        host.name = cluster.node_name
        try:
            _wait_listed(cluster)
            return tell(scan_once(judge, reader, news, guard=guard), judge)
        finally:
            cluster.stop()
    finally:
        reads.stop()


def _wait_listed(cluster: Cluster) -> None:
    if cluster.wait_listed(LISTED_WITHIN):
        return
    for watch in cluster.states():
        if not watch.listed:
            log.warning(
                "%s are not listed after %g s, so pods are shown without them: %s",
                watch.resource,
                LISTED_WITHIN,
                watch.fault or "no answer",
            )


def known_id(settings: Settings) -> str:
    """Return the agent's id, or a word in its place where this user may not read it."""
    try:
        return read_agent_id(settings.core.state_dir, machine(settings))
    except StateError as error:
        log.warning("%s; .Rover.InstanceID is shown as %s", error, UNKNOWN_ID)
        return UNKNOWN_ID
