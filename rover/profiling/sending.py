"""Tasks that are carried out, and sending what was counted for them."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from rover import metrics
from rover._proto.service import COLLECT_PROFILING_DATA
from rover.errors import BackendError
from rover.profiling import messages
from rover.profiling.merge import Ledger

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from rover.model import ProcessKey
    from rover.profiling.merge import Source
    from rover.profiling.tasks import Task, TaskKey

log = logging.getLogger("rover.profiling")

MOST_FAILED: Final = 2
"""Sends that fail one after the other until the rest waits for the next flush."""


class Backend(Protocol):
    """How the backend is spoken to; the reporter is one."""

    def call_aside(self, path: str, messages: Iterable[bytes], *, hurried: bool = False) -> bytes:
        """Make one call.

        Args:
            path: of the method.
            messages: a stream of them, or one.
            hurried: whether other things wait for it: then it is given up early.

        Raises:
            BackendError: There is no usable answer.
        """

    def cancel_aside(self, paths: Collection[str]) -> None:
        """Make each call under way to these methods fail; from any thread."""


@dataclass(slots=True, eq=False)
class Run:
    """A task that is carried out."""

    task: Task
    began: int
    """Milliseconds since the epoch."""
    ledger: Ledger = field(default_factory=Ledger)
    counted: dict[Source, ProcessKey] = field(default_factory=dict)
    """Whose counts go into the ledger."""

    @property
    def key(self) -> TaskKey:
        """Of its task."""
        return self.task.key


class Sender:
    """Sends the batches of runs: all in one stream, or after a failure one stream for each task.

    So what the backend cannot take of one task costs that task alone.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._apart = False

    def flush(self, runs: Sequence[Run], now: int) -> list[Run]:
        """Send what is new; return the runs whose batch was not taken.

        Args:
            runs: those whose turn comes first, first.
            now: milliseconds since the epoch.
        """
        due = [run for run in runs if run.ledger.cut(now)]
        if not due:
            return []
        parts = [[run] for run in due] if self._apart else [due]
        refused: list[Run] = []
        in_a_row = 0
        for part in parts:
            if self._send(part):
                in_a_row = 0
                continue
            refused += part
            in_a_row += 1
            if in_a_row >= MOST_FAILED:
                break
        if self._apart and not refused:
            log.info("profiles are taken again")
        self._apart = bool(refused)
        return refused

    def _send(self, runs: Sequence[Run]) -> bool:
        try:
            self._backend.call_aside(COLLECT_PROFILING_DATA, _stream(runs))
        except BackendError as error:
            metrics.PROFILING_FLUSHES.labels("failed").inc()
            if not self._apart:
                log.warning("profiles are kept, the backend does not take them: %s", error)
            return False
        metrics.PROFILING_FLUSHES.labels("ok").inc()
        for run in runs:
            if batch := run.ledger.batch:
                metrics.PROFILING_STACKS.inc(len(batch.items))
                metrics.PROFILING_SAMPLES.labels(run.task.target.value).inc(batch.total.times)
            run.ledger.accepted()
        return True


def _stream(runs: Sequence[Run]) -> Iterator[bytes]:
    """Make the messages one by one: all of them would be large."""
    for run in runs:
        if batch := run.ledger.batch:
            yield from messages.stream(messages.Share(run.task, run.began, batch))


def shown(key: TaskKey) -> tuple[str, str]:
    """Fit ids that a backend chose into a log line."""
    task_id, process_id = (
        "".join(each if each.isprintable() else "?" for each in part[:64]) for part in key
    )
    return task_id, process_id
