"""One scan without a thread: what an agent with these settings would report now."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rover.discovery.census import Census
from rover.discovery.procfs import ProcReader
from rover.model import Reason
from rover.table import Table, Why

if TYPE_CHECKING:
    from rover.discovery.judge import Judge


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
    found = [why for pid in census.table.pids() if (why := census.table.why(pid))]
    found += [
        Why(thread.as_process(), Reason.KERNEL_THREAD, "", (), ())
        for thread in census.kernel_threads.values()
    ]
    return sorted(found, key=lambda why: why.process.pid)
