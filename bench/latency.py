"""From exec to accepted by the backend: ``python -m bench.latency [--json]``.

On an idle host, and while 500 short processes a second come and go. The time of an exec is taken
before posix_spawn, so the spawn itself counts. Beside it, until they have merely seen it, an agent
that polls and a bare execsnoop.
"""

from __future__ import annotations

import time

from bench.rig import agent, baseline, churn, sleepers
from bench.rig.backend import wait_for_pids
from bench.rig.figures import Figures
from bench.rig.options import options
from bench.rig.starts import delays, exec_to_accepted, start_at_random
from rover.backend import EmbeddedBackend

SHORT_RATE, SHORT_TIME = 500, 60
SLEEPING = 500


def ours(figures: Figures) -> None:
    with EmbeddedBackend() as server, sleepers.running(SLEEPING) as group, agent.running(server):
        wait_for_pids(server, set(group.pids))
        quiet = exec_to_accepted(server, group)
        with churn.running(SHORT_RATE, SHORT_TIME):
            busy = exec_to_accepted(server, group)
    figures.limit(f"idle host with {SLEEPING} processes, p50", quiet["p50"], "ms", 140)
    figures.limit("  p99", quiet["p99"], "ms", 200)
    figures.add("  max", quiet["max"], "ms")
    figures.add(f"with {SHORT_RATE} short processes a second, p50", busy["p50"], "ms")
    figures.limit("  p99", busy["p99"], "ms", 300)
    figures.add("  max", busy["max"], "ms")


def others(figures: Figures) -> None:
    for way, name in baseline.NAMES.items():
        with (
            sleepers.running(SLEEPING) as group,
            churn.running(SHORT_RATE, SHORT_TIME),
            baseline.running(way) as other,
        ):
            time.sleep(baseline.PERIOD)
            started = start_at_random(group)
            time.sleep(baseline.PERIOD + 1)
        seen = delays(started, other.times(sleepers.PREFIX))
        figures.add(f"{name}, seen among as many, p50", seen["p50"], "ms")
        figures.add("  p99", seen["p99"], "ms")


def main() -> None:
    chosen = options(__doc__).parse_args()
    figures = Figures("exec to accepted by the backend", as_json=chosen.json)
    figures.start()
    ours(figures)
    others(figures)
    figures.end()


if __name__ == "__main__":
    main()
