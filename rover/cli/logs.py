"""How the agent's log looks: one line an event, on standard error."""

from __future__ import annotations

import logging
import time
from typing import Final

from rover.redaction import without_secrets

LEVELS: Final = {
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARN": logging.WARNING,
    "ERROR": logging.ERROR,
}


class _Masking(logging.Formatter):
    """Writes events without the secrets that a message of any kind may hold."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one event, with its traceback if it has one."""
        return without_secrets(super().format(record))


def write_logs(level: str) -> None:
    """Send the agent's events of `level` and above to standard error, times in UTC."""
    formatter = _Masking(
        "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    root = logging.getLogger("rover")
    root.handlers = [handler]
    root.setLevel(LEVELS[level])
    root.propagate = False
