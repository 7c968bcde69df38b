"""How much the agent logs: as configured, or otherwise for a while because somebody asked."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import Final

AGENTS_LOG: Final = "rover"
"""The logger above all of the agent's own."""
LEVELS: Final = {
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARN": logging.WARNING,
    "ERROR": logging.ERROR,
}
TIMER: Final = "log-level"
"""Name of the thread that there is while the level is another."""
LONGEST: Final = 86_400.0
"""Seconds for which the level may be another: what is forgotten fills no disk for ever."""

log = logging.getLogger(AGENTS_LOG)


@dataclass(frozen=True, slots=True)
class LevelNow:
    """The level at one moment."""

    level: str
    configured: str
    seconds_left: float | None
    """Until the configured one is back; None where that is in force."""


class LogLevel:
    """The level of the running agent; any thread may ask and change it."""

    def __init__(self, configured: str) -> None:
        """Take the level that is in force already, one of `LEVELS`."""
        self._configured = configured
        self._lock = threading.Lock()
        self._back: threading.Timer | None = None
        self._level = configured
        self._until = 0.0

    def now(self) -> LevelNow:
        """Tell the level in force."""
        with self._lock:
            return self._told()

    def change(self, level: str, seconds: float) -> LevelNow:
        """Log another level for so many seconds, then the configured one again.

        Raises:
            ValueError: there is no such level, or it is for no time or for longer than a day.
        """
        if level not in LEVELS:
            raise ValueError(f"{level[:20]!r} is no level: say one of {', '.join(LEVELS)}")
        if not 0 < seconds <= LONGEST:
            raise ValueError(f"say for how long: more than 0 and at most {LONGEST:.0f} seconds")
        with self._lock:
            self._forget_timer()
            self._until = time.monotonic() + seconds
            self._back = threading.Timer(seconds, self.restore)
            self._back.name, self._back.daemon = TIMER, True
            self._back.start()
            self._enforce(level, f"for {seconds:g} s, as asked")
            return self._told()

    def restore(self) -> LevelNow:
        """Log as configured from now on."""
        with self._lock:
            self._forget_timer()
            self._enforce(self._configured, "as configured")
            return self._told()

    def close(self) -> None:
        """Let nothing change any more."""
        with self._lock:
            self._forget_timer()

    def _told(self) -> LevelNow:
        left = max(0.0, self._until - time.monotonic()) if self._back else None
        return LevelNow(self._level, self._configured, left)

    def _enforce(self, level: str, why: str) -> None:
        if level != self._level:
            log.warning("log level=%s %s", level, why)
            self._level = level
            log.setLevel(LEVELS[level])

    def _forget_timer(self) -> None:
        if self._back:
            self._back.cancel()
            self._back = None
