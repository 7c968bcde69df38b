"""How the agent's log looks: one line an event, on standard error; for people or for programs."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any, Final

from rover.cli.outlet import Outlet
from rover.cli.repeats import Repetition, Summing
from rover.log_level import AGENTS_LOG, LEVELS
from rover.redaction import without_secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_FRAMES: Final = 20
"""Innermost calls of a traceback that are written."""
MOST_TRACEBACK: Final = 8_000
"""Characters."""
PLACEHOLDER: Final = re.compile(r"%%|(?:(?P<name>[a-z_]+)=)?%[-+# 0]*\d*(?:\.\d+)?[a-zA-Z]")
"""Of a message to be filled in; a field is one that has a name before it, as in ``pid=%d``."""


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
        if record.exc_info and not (self._tracebacks or _debugging()):
            record = logging.makeLogRecord({**record.__dict__, "exc_info": None, "exc_text": None})
        text = without_secrets(super().format(record))
        return f"{text} ({again})" if (again := Repetition.of(record)) else text

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base class's
        """Write the line itself: whatever it repeats of others, it ends no line and no colour."""
        line = super().formatMessage(record)
        return line if line.isprintable() else "".join(map(_escaped, line))

    def formatException(self, ei: Any) -> str:  # noqa: N802, ANN401 - the base class's
        """Write a traceback whose size is bounded, however deep the calls went."""
        return _traceback(ei)


class JsonEvents(logging.Formatter):
    """One object of JSON a line: time, level, logger, message, and its fields by their names."""

    def format(self, record: logging.LogRecord) -> str:
        """Write an event without the secrets it may hold, with its traceback."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        told: dict[str, object] = {
            "time": f"{seconds}.{record.msecs:03.0f}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": without_secrets(record.getMessage()),
        }
        if fields := fields_of(record):
            told["fields"] = fields
        if again := Repetition.of(record):
            told["repeated"] = again.times
            told["within_seconds"] = again.seconds
            if again.pids:
                told["of_pids_too"] = again.pids
        if record.exc_info:
            told["exception"] = without_secrets(_traceback(record.exc_info))
        return json.dumps(told)


def fields_of(record: logging.LogRecord) -> Mapping[str, object]:
    """Return what fills the named places of a message; numbers as such, text without secrets."""
    found = list(_placeholders(record.msg)) if isinstance(record.msg, str) else []
    if not isinstance(record.args, tuple) or len(found) != len(record.args):
        return {}
    return {
        name: _value(name, given)
        for name, given in zip(found, record.args, strict=True)
        if name is not None
    }


def _placeholders(message: str) -> list[str | None]:
    return [match["name"] for match in PLACEHOLDER.finditer(message) if match[0] != "%%"]


def _value(name: str, given: object) -> object:
    if given is None or isinstance(given, (bool, int, float)):
        return given
    # whether it is a secret may lie in the name
    said = f"{name}="
    return without_secrets(said + str(given)).removeprefix(said)


def _traceback(ei: Any) -> str:  # noqa: ANN401 - as logging has it
    text = "".join(traceback.format_exception(*ei, limit=-MOST_FRAMES)).rstrip()
    return text if len(text) <= MOST_TRACEBACK else f"…{text[-MOST_TRACEBACK:]}"


def _escaped(sign: str) -> str:
    return sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii")


def _debugging() -> bool:
    return logging.getLogger(AGENTS_LOG).isEnabledFor(logging.DEBUG)


def write_logs(level: str, *, tracebacks: bool, form: str = "console", waits: bool = True) -> None:
    """Send the agent's events of `level` and above to standard error.

    Args:
        level: the least that is written; with DEBUG, tracebacks always are.
        tracebacks: whether those of defects have a place there, see `stands_apart`.
        form: ``console`` for people, ``json`` for programs, which tells tracebacks always.
        waits: whether to wait for a reader that takes nothing; else what it does not take is lost,
            and told once it takes again.
    """
    formatter = JsonEvents() if form == "json" else Events(tracebacks=tracebacks)
    stream = None
    if not waits:
        with contextlib.suppress(OSError):  # it is none of the system's
            stream = Outlet(sys.stderr, lambda lines: formatter.format(_lost(lines)))
    handler = Summing(stream=stream)
    handler.setFormatter(formatter)
    root = logging.getLogger(AGENTS_LOG)
    root.handlers = [handler]
    root.setLevel(LEVELS[level])
    root.propagate = False


def _lost(lines: int) -> logging.LogRecord:
    message = "the log was not read for a while, and what came meanwhile is lost: lines=%d"
    return logging.LogRecord(f"{AGENTS_LOG}.log", logging.WARNING, "", 0, message, (lines,), None)


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
