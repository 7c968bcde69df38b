"""How the agent's log looks: one line an event, on standard error."""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
from typing import Any, Final

from rover.redaction import without_secrets

LEVELS: Final = {
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARN": logging.WARNING,
    "ERROR": logging.ERROR,
}

MOST_FRAMES: Final = 20
"""Innermost calls of a traceback that are written."""
MOST_TRACEBACK: Final = 8_000
"""Characters."""


class Events(logging.Formatter):
    """One line an event; a defect's traceback follows where there is a place for it."""

    def __init__(self, *, tracebacks: bool) -> None:
        """Write times in UTC.

        Args:
            tracebacks: whether to write them; without, the line alone tells of a defect.
        """
        super().__init__(
            "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S"
        )
        self.converter = time.gmtime
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        """Write an event without the secrets it may hold, with its traceback or without."""
        if not self._tracebacks and record.exc_info:
            record = logging.makeLogRecord({**record.__dict__, "exc_info": None, "exc_text": None})
        return without_secrets(super().format(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802, ANN401 - the base class's
        """Write a traceback whose size is bounded, however deep the calls went."""
        text = "".join(traceback.format_exception(*ei, limit=-MOST_FRAMES)).rstrip()
        return text if len(text) <= MOST_TRACEBACK else f"…{text[-MOST_TRACEBACK:]}"


def write_logs(level: str, *, tracebacks: bool) -> None:
    """Send the agent's events of `level` and above to standard error.

    Args:
        level: the least that is written; with DEBUG, tracebacks always are.
        tracebacks: whether those of defects have a place there, see `stands_apart`.
    """
    formatter = Events(tracebacks=tracebacks or level == "DEBUG")
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    root = logging.getLogger("rover")
    root.handlers = [handler]
    root.setLevel(LEVELS[level])
    root.propagate = False


def stands_apart(*, output: bool) -> bool:
    """Tell whether the log goes to a place of its own: a file, a pipe or the journal.

    A terminal is none.

    Args:
        output: the command writes to standard output, which must lead elsewhere.
    """
    if sys.stderr.isatty():
        return False
    try:
        return not (output and os.path.sameopenfile(sys.stdout.fileno(), sys.stderr.fileno()))
    except (OSError, ValueError):  # one is closed, or none of the system's
        return True
