"""The watcher's thread: has policies held, and tasks begun of what passes their thresholds.

A flush may wait for the backend, the sampler for files; what processes use is read every second.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from rover._proto.service import QUERY_POLICIES, REPORT_PROFILING_TASK

if TYPE_CHECKING:
    from collections.abc import Callable

    from rover.guard import Guard
    from rover.profiling.continuous import Continuous
    from rover.profiling.sending import Backend
    from rover.profiling.tasks import Task

PAUSE_AFTER_DEFECT: Final = 5.0
STEP: Final = "continuous profiling"


class Watcher:
    """Runs continuous profiling in a thread of its own.

    Args:
        continuous: What is run.
        begin: Is given each task that comes of it; called by the thread.
        backend: Who continuous profiling asks: what it waits for at the end is cancelled.
        guard: Runs each step.
    """

    def __init__(
        self, continuous: Continuous, begin: Callable[[Task], None], backend: Backend, guard: Guard
    ) -> None:
        self._continuous = continuous
        self._begin = begin
        self._backend = backend
        self._guard = guard
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        """Begin to ask for policies."""
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """End; tell whether that went in time."""
        self._stopping.set()
        if self._thread.ident is None:
            return True
        self._backend.cancel_aside([QUERY_POLICIES, REPORT_PROFILING_TASK])
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._guard.whole(STEP, self._turn)
            failing = self._guard.failing_at(STEP)
            rest = self._continuous.next_due() - time.monotonic()
            self._stopping.wait(PAUSE_AFTER_DEFECT if failing else max(0.0, rest))

    def _turn(self) -> None:
        for task in self._continuous.turn(time.monotonic()):
            self._begin(task)
