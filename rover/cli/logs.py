"""How the agent's log looks: one line an event, on standard error."""

from __future__ import annotations

import logging
import time
from typing import Final

LEVELS: Final = {
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARN": logging.WARNING,
    "ERROR": logging.ERROR,
}


def write_logs(level: str) -> None:
    """Send the agent's events of `level` and above to standard error, times in UTC."""
    formatter = logging.Formatter(
        "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    root = logging.getLogger("rover")
    root.handlers = [handler]
    root.setLevel(LEVELS[level])
    root.propagate = False
