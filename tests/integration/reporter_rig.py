"""Reports made up for the reporter's tests, and a reporter in a hurry."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace

from rover.config.settings import BackendSettings, DiscoverySettings
from rover.model import Changes, Container, Entity, Process, ProcessKey, Report
from rover.reporter.reporter import Reporter

AGENT = "5ca1ab1e-0000-4000-8000-000000000001"

HURRY = DiscoverySettings(heartbeat_period=0.4, properties_report_period=5)
"""Beats every 0.4 s, all properties every 2 s."""


def process(pid, command_line="sleep 1000"):
    return Process(
        key=ProcessKey(pid, 1),
        ppid=1,
        name="sleep",
        exe="/usr/bin/sleep",
        arguments=command_line.encode("utf-8", "surrogateescape"),
        cwd="/",
        uid=0,
        cgroup="0::/",
        pid_namespace=0,
        mount_namespace=0,
        namespace_pid=pid,
        image=0,
    )


def report(number, *, layer="OS_LINUX", pid=None, command_line="sleep 1000", **more):
    entity = Entity(layer, "shop", "host-a", f"worker-{number}", more.pop("labels", ()))
    return Report(entity, process(pid or 1000 + number, command_line), **more)


def announced(*reports):
    return Changes(announced=tuple(reports))


def withdrawn(*reports):
    return Changes(withdrawn=tuple(one.entity.key for one in reports))


POD = Container(
    id="c" * 64,
    name="app",
    pod_name="shop-1",
    namespace="default",
    pod_ip="10.1.2.3",
    host_ip="192.0.2.9",
)


@contextlib.contextmanager
def reporting(address, discovery=HURRY, agent_id=AGENT, **backend):
    """Run a reporter that tries again quickly."""
    settings = replace(BackendSettings(addr=address, check_period=0.2, timeout=2.0), **backend)
    reporter = Reporter(settings, discovery, agent_id)
    reporter.start()
    try:
        yield reporter
    finally:
        assert reporter.stop(5), "the reporter's thread did not end"


def eventually(holds, within=20.0):
    """Wait for a condition of the reporter, whose state announces no changes."""
    deadline = time.monotonic() + within
    while not (seen := holds()):
        assert time.monotonic() < deadline, "not seen in time"
        time.sleep(0.01)
    return seen


def names(snapshot):
    """Processes that a user of the backend finds."""
    return {row.entity.process for row in snapshot.processes if row.visible}


def shown(*numbers):
    """Predicate: just these workers are visible."""
    wanted = {f"worker-{number}" for number in numbers}
    return lambda snapshot: names(snapshot) == wanted


def beats_of(snapshot):
    """Beats of the process that had the fewest."""
    return min((row.pings for row in snapshot.processes), default=0)
