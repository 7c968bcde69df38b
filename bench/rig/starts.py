"""Processes that start and end: how long until they are known, and what they cost the agent."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from bench.rig.backend import wait_for_pids
from bench.rig.cost import cost
from bench.rig.figures import spread

if TYPE_CHECKING:
    from bench.rig.sleepers import Sleepers
    from rover.backend import EmbeddedBackend

PROCESSES = 100
LIVES, LIVES_A_SECOND = 200, 20


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


def cpu_of_a_life(group: Sleepers, server: EmbeddedBackend, pid: int, rest: float) -> float:
    """Seconds of an agent's CPU for a process from its start to its end, over many.

    Args:
        group: starts them.
        server: what the agent reports to.
        pid: the agent's.
        rest: seconds of CPU a second that it takes meanwhile without them.
    """
    before, started = cost(pid), []
    for _ in range(LIVES):
        started.append(group.start())
        time.sleep(1 / LIVES_A_SECOND)
    wait_for_pids(server, set(started))
    for new in started:
        group.end(new)
        time.sleep(1 / LIVES_A_SECOND)
    after = cost(pid)
    return (after.cpu - before.cpu - rest * (after.at - before.at)) / LIVES
