"""One scan without a thread: what an agent with these settings would report now."""

from __future__ import annotations

import contextlib
import os
import queue
import time
from typing import TYPE_CHECKING, Final

from rover.discovery.census import Census
from rover.discovery.procfs import ProcReader
from rover.guard import Defect, Guard
from rover.table import Table

if TYPE_CHECKING:
    from rover.naming.judge import Judge
    from rover.redaction import Redaction
    from rover.table import Why


QUIET: Final = 0.3
"""Seconds without news after which the cluster has told all that the scan made it ask for."""
MOST_NEWS: Final = 5.0
"""Seconds for which news is taken in at most."""


def scan_once(
    judge: Judge,
    redaction: Redaction,
    news: queue.SimpleQueue[object] | None = None,
    *,
    guard: Guard | None = None,
) -> list[Why]:
    """Read every process and explain each, kernel threads included, in the order of the pids.

    Args:
        judge: names them.
        redaction: decides what of command lines is told.
        news: what the cluster has told so far and will tell, of owners for example; None where
            there is no cluster.
        guard: does what concerns one process, so that a defect costs that one alone.
    """
    guard = guard or Guard()
    census = Census(
        table=Table(),
        reader=ProcReader(redaction=redaction),
        judge=judge,
        probes=None,
        settle_time=0,
        own_pids=frozenset({os.getpid()}),
        guard=guard,
    )
    while news and not news.empty():
        guard.one("news", "", judge.apply, news.get())
    census.scan()
    until = time.monotonic() + MOST_NEWS
    with contextlib.suppress(queue.Empty):
        while news and time.monotonic() < until:
            keys = guard.one("news", "", judge.apply, news.get(timeout=QUIET))
            census.judge_again(() if isinstance(keys, Defect) else keys)
    census.changes(time.monotonic())
    pids = sorted(census.table.pids() | census.kernel_threads.keys())
    return [why for pid in pids if (why := census.why(pid))]
