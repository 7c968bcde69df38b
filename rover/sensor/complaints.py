"""What the sensor cannot read: counted, and named in the log as long as it is not too much."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from rover.capabilities import LOOK_INTO_ANY_PROCESS, READ_ANY_FILE, own_capabilities, remedy

if TYPE_CHECKING:
    from rover.sensor.directory import Directory, Seat

_log = logging.getLogger("rover.discovery")

_MAX_TOLD: Final = 20
"""Bad files and avoided places that are named in the log; all are counted."""


class Complaints:
    """Counts them since the start."""

    def __init__(self) -> None:
        self.refused = 0
        self._told = 0
        self._blind = False

    def avoided(self, directory: Directory, reason: str) -> None:
        """A place is left alone."""
        self.refused += 1
        _log.log(
            self._level(logging.INFO),
            "agent_sensor.avoided tmpdir=%r pid=%d reason=%r",
            directory.shown(),
            next(iter(directory.doors()), 0),
            reason,
        )

    def bad_file(self, seat: Seat, complaint: str) -> None:
        """Name a file once, at the second look that finds it bad: it may have been half written."""
        if complaint and seat.suspected and not seat.named:
            seat.named = True
            self.refused += 1
            _log.log(
                self._level(logging.WARNING),
                "agent_metadata.refused pid=%d reason=%r",
                seat.process.pid,
                complaint,
            )
        seat.suspected = bool(complaint)

    def denied(self, pid: int, reason: str) -> None:
        """Access to a process is denied."""
        self.refused += 1
        if not self._blind:
            self._blind = True
            _log.info(
                "agent_sensor.denied pid=%d reason=%r; a SkyWalking agent in such a process is not"
                " seen; %s",
                pid,
                reason,
                remedy(own_capabilities(), LOOK_INTO_ANY_PROCESS, READ_ANY_FILE),
            )

    def _level(self, level: int) -> int:
        self._told += 1
        return level if self._told <= _MAX_TOLD else logging.DEBUG
