"""One scan without a thread: what an agent with these settings would report now."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rover.discovery.census import Census
from rover.discovery.procfs import ProcReader
from rover.table import Table

if TYPE_CHECKING:
    from rover.discovery.judge import Judge
    from rover.table import Why


def scan_once(judge: Judge) -> list[Why]:
    """Read every process and explain each, kernel threads included, in the order of the pids."""
    census = Census(
        table=Table(),
        reader=ProcReader(),
        judge=judge,
        probes=None,
        settle_time=0,
        own_pids=frozenset({os.getpid()}),
    )
    census.scan()
    pids = sorted(census.table.pids() | census.kernel_threads.keys())
    return [why for pid in pids if (why := census.why(pid))]
