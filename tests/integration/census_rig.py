"""A discovery thread on the real kernel whose processes are named by their pid."""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rover.config.settings import DiscoverySettings
from rover.discovery.census import Census
from rover.discovery.cgroup_rounds import NO_TREES, trees_here
from rover.discovery.loop import Discovery
from rover.discovery.procfs import ProcReader
from rover.guard import Guard
from rover.model import Changes, Entity, EntityKey, Process, ProcessKey, Report, Verdict
from rover.probes import programs
from rover.probes.settling import Probes
from rover.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator


class NameByPid:
    """A judge that gives each process an entity of its own."""

    def __init__(self) -> None:
        self.forgotten: list[ProcessKey] = []

    def judge(self, process: Process) -> Verdict:
        entity = Entity("OS_LINUX", "test", "host", f"{process.exe_name}-{process.pid}")
        return Verdict((Report(entity, process),))

    def forget(self, key: ProcessKey) -> None:
        self.forgotten.append(key)

    def apply(self, message: object) -> tuple[ProcessKey, ...]:
        return message if isinstance(message, tuple) else ()

    def refresh(self, now: float) -> tuple[ProcessKey, ...]:  # noqa: ARG002 - the protocol
        return ()

    def next_refresh(self, now: float) -> float:
        return now + 3600

    def figures(self) -> dict[str, dict[str, int]]:
        return {}


class Seen:
    """What was published, as the backend would hold it, and every change on the way."""

    def __init__(self) -> None:
        self.news = threading.Condition()
        self.entities: dict[EntityKey, Report] = {}
        self.announced: list[Report] = []
        self.withdrawn: list[EntityKey] = []

    def publish(self, changes: Changes) -> None:
        with self.news:
            for report in changes.announced:
                self.entities[report.entity.key] = report
            for key in changes.withdrawn:
                del self.entities[key]
            self.announced += changes.announced
            self.withdrawn += changes.withdrawn
            self.news.notify_all()

    def process(self, pid: int) -> Process | None:
        return next((r.process for r in list(self.entities.values()) if r.process.pid == pid), None)

    def wait_for(self, pid: int, *, gone: bool = False, within: float = 20.0) -> Process | None:
        with self.news:
            done = self.news.wait_for(lambda: (self.process(pid) is None) == gone, within)
        assert done, f"pid {pid} {'still there' if gone else 'not seen'} after {within} s"
        return self.process(pid)

    def times_announced(self, pid: int, beginning: str = "") -> int:
        """How often, as command lines that begin so: before its exec it is a copy of its parent."""
        of_pid = (each.process for each in list(self.announced) if each.process.pid == pid)
        return sum(process.command_line.startswith(beginning) for process in of_pid)


class Rig:
    def __init__(self, *, ebpf: bool = True, **request: Any) -> None:
        periods = {"settle_time": 0.1, "reconcile_period": 3600.0}
        look_period = request.pop("look_period", 3600.0)
        see_trees = request.pop("see_trees", True)
        periods |= {k: request.pop(k) for k in tuple(periods) if k in request}
        self.seen = Seen()
        self.failures: list[BaseException] = []
        self.guard = Guard()
        self.probes = Probes(programs.load(**request)) if ebpf else None
        self.reader = ProcReader()
        self.judge = NameByPid()
        self.census = Census(
            table=Table(),
            reader=self.reader,
            judge=self.judge,
            probes=self.probes,
            settle_time=periods["settle_time"],
            look_period=look_period,
            trees=trees_here(self.reader.mounts(), self.reader.cgroup(os.getpid()) or "")
            if see_trees
            else NO_TREES,
            own_pids=frozenset({os.getpid()}) if request.get("hide_own") else frozenset(),
            guard=self.guard,
        )
        settings = replace(DiscoverySettings(), **periods)
        settings = replace(settings, scanner=replace(settings.scanner, period=0.3))
        self.discovery = Discovery(
            census=self.census,
            judge=self.judge,
            probes=self.probes,
            settings=settings,
            publish=self.seen.publish,
            failed=self.failures.append,
            guard=self.guard,
        )


@contextlib.contextmanager
def running(*, ebpf: bool = True, **request: Any) -> Iterator[Rig]:
    rig = Rig(ebpf=ebpf, **request)
    rig.discovery.start()
    try:
        assert rig.discovery.wait_scanned(20)
        yield rig
    finally:
        rig.discovery.stop(5)
    assert not rig.failures
