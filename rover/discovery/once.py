"""One scan without a thread: what an agent with these settings would report now."""

from __future__ import annotations

import os
import queue
import time
from typing import TYPE_CHECKING, Final

from rover.discovery.census import Census
from rover.guard import Defect, Guard
from rover.model import Reason
from rover.table import Table

if TYPE_CHECKING:
    from rover.discovery.procfs import ProcReader
    from rover.naming.judge import Judge
    from rover.table import Why


QUIET: Final = 0.3
"""Seconds without news after which the cluster has told all that the scan made it ask for."""
PENDING_LOOK: Final = 0.1
"""Seconds between two looks at processes that are still being looked into."""
MOST_NEWS: Final = 5.0
"""Seconds for which news is taken in at most."""


def scan_once(
    judge: Judge,
    reader: ProcReader,
    news: queue.SimpleQueue[object],
    quiet: float = QUIET,
    *,
    guard: Guard | None = None,
) -> Census:
    """Read every process, and return what is known then.

    Args:
        judge: names them.
        reader: reads them.
        news: what the judge is told, of a cluster or of agents' files, so far and from now on.
        quiet: seconds without news after which no more is waited for.
        guard: does what concerns one process, so that a defect costs that one alone.
    """
    guard = guard or Guard()
    census = Census(
        table=Table(),
        reader=reader,
        judge=judge,
        probes=None,
        settle_time=0,
        own_pids=frozenset({os.getpid()}),
        guard=guard,
    )

    def apply(message: object) -> None:
        keys = guard.one("news", type(message).__name__, judge.apply, message)
        census.judge_again(() if isinstance(keys, Defect) else keys)

    while not news.empty():
        apply(news.get())
    census.scan()
    until = time.monotonic() + MOST_NEWS
    pending = census.table.reasons
    while (now := time.monotonic()) < until:
        try:
            message = news.get(timeout=max(quiet, PENDING_LOOK if pending[Reason.PENDING] else 0.0))
        except queue.Empty:
            if not pending[Reason.PENDING]:
                break
            census.resolve_doubts(now)
            if judge.next_refresh(now) <= now:
                census.judge_again(judge.refresh(now))
        else:
            apply(message)
    census.changes(time.monotonic())  # which mends what failed
    return census


def all_of(census: Census) -> list[Why]:
    """Explain each process, kernel threads included, in the order of the pids."""
    pids = sorted(census.table.pids() | census.kernel_threads.keys())
    return [why for pid in pids if (why := census.why(pid))]
