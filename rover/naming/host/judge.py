"""Judges processes of the host, and judges them again when their agents say otherwise."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rover.model import Process, ProcessKey, Verdict
    from rover.naming.host.finders import HostFinders
    from rover.sensor import Sensor


class HostJudge:
    """A `rover.naming.judge.Judge` for hosts without Kubernetes."""

    def __init__(self, finders: HostFinders, sensor: Sensor, period: float) -> None:
        """Join the finders with the sensor that they ask.

        Args:
            finders: They decide.
            sensor: Kept up to date here, unless the finders do not ask it.
            period: Seconds between two looks at the agents' files.
        """
        self._finders = finders
        self._sensor = sensor if finders.ask_agents else None
        self._period = period
        self._refresh_at = 0.0

    def judge(self, process: Process) -> Verdict:
        """Decide what a process is called by what its agent says now."""
        if self._sensor:
            self._sensor.watch(process, time.time())
        return self._finders.judge(process)

    def forget(self, key: ProcessKey) -> None:
        """Drop a process that has ended."""
        if self._sensor:
            self._sensor.forget(key)

    def apply(self, message: object) -> Iterable[ProcessKey]:
        """Take no news: all that changes on a host is seen by looking."""
        del message
        return ()

    def refresh(self, now: float) -> Iterable[ProcessKey]:
        """Look at the agents' files; return the processes whose agent says something else now.

        Args:
            now: time.monotonic().
        """
        self._refresh_at = now + self._period
        return self._sensor.refresh(time.time()) if self._sensor else ()

    def next_refresh(self, now: float) -> float:
        """Return the time.monotonic() of the next look."""
        return self._refresh_at if self._sensor else now + 3600.0

    def figures(self) -> Mapping[str, Mapping[str, int]]:
        """Return what the sensor counts."""
        return {"agent_sensor": self._sensor.figures._asdict()} if self._sensor else {}
