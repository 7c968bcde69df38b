"""Long-lived processes at random times, and how long until they are known."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from bench.rig.backend import wait_for_pids
from bench.rig.figures import spread

if TYPE_CHECKING:
    from bench.rig.sleepers import Sleepers
    from rover.backend import EmbeddedBackend

PROCESSES = 100


def start_at_random(group: Sleepers) -> dict[int, float]:
    """Start processes at random times; return when each was, as time.monotonic()."""
    started = {}
    for _ in range(PROCESSES):
        time.sleep(random.uniform(0.01, 0.3))
        now = time.monotonic()
        started[group.start()] = now
    return started


def delays(started: dict[int, float], seen: dict[int, float]) -> dict[str, float]:
    """Milliseconds from start to seen."""
    return spread([1000 * (seen[pid] - at) for pid, at in started.items()])


def exec_to_accepted(server: EmbeddedBackend, group: Sleepers) -> dict[str, float]:
    """Milliseconds, over processes started at random times."""
    started = start_at_random(group)
    return delays(started, wait_for_pids(server, set(started)))
