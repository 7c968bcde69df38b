"""Judges processes of the host, and judges them again when their agents say otherwise."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from rover.model import Reason, Verdict
from rover.naming.trail import METADATA, Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rover.model import Process, ProcessKey
    from rover.naming.host.finders import HostFinders
    from rover.naming.judge import PodProcesses
    from rover.naming.trail import Trail
    from rover.sensor import Sensor

_PENDING = Verdict(
    reason=Reason.PENDING, detail="whether a SkyWalking agent in it has said who it is"
)


class SensorNews:
    """A message: the sensor has heard something of agents' files."""


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
        """Decide what a process is called by what its agent says now.

        Where that is not known yet there is no verdict for a moment: after a restart of the agent a
        process must not be reported under another name first.
        """
        sensor = self._sensor
        if sensor is None:
            return self._finders.judge(process)
        sensor.watch(process, time.time())
        if sensor.is_pending(process.key):
            return _PENDING
        verdict = self._finders.judge(process)
        obstacle = sensor.obstacle(process.key)
        if not obstacle:
            return verdict
        detail = "; ".join(filter(None, (verdict.detail, obstacle)))
        return replace(verdict, detail=detail)

    def trace(self, process: Process, trail: Trail) -> None:
        """Write down the finders that a process comes to."""
        if self._sensor and self._sensor.is_pending(process.key):
            trail.add(Step(METADATA, "is being looked for", decides=True))
        else:
            self._finders.judge(process, trail)
        self._finders.add_unasked(trail)

    def pod(self, namespace: str, name: str) -> PodProcesses | None:  # noqa: ARG002 - the protocol
        """Know of no pods."""
        return None

    def forget(self, key: ProcessKey) -> None:
        """Drop a process that has ended."""
        if self._sensor:
            self._sensor.forget(key)

    def apply(self, message: object) -> Iterable[ProcessKey]:
        """Take in what the sensor has heard; all else that changes on a host is seen by looking."""
        if self._sensor and isinstance(message, SensorNews):
            return self._sensor.take(time.time())
        return ()

    def refresh(self, now: float) -> Iterable[ProcessKey]:
        """Have the agents' files looked at; return the processes to judge again.

        Args:
            now: time.monotonic().
        """
        if self._sensor is None:
            return ()
        changed = self._sensor.take(time.time()) | self._sensor.expired()
        if now >= self._refresh_at:
            self._refresh_at = now + self._period
            changed |= self._sensor.refresh(time.time())
        return changed

    def next_refresh(self, now: float) -> float:
        """Return the time.monotonic() of the next look."""
        if self._sensor is None:
            return now + 3600.0
        news = self._sensor.next_news
        return self._refresh_at if news is None else min(news, self._refresh_at)

    def figures(self) -> Mapping[str, Mapping[str, int]]:
        """Return what the sensor counts."""
        return {"agent_sensor": self._sensor.figures._asdict()} if self._sensor else {}
