"""From exec to accepted by the backend: ``python -m bench.latency [--json]``.

On an idle host, and while 500 short processes a second come and go. The time of an exec is taken
before posix_spawn, so the spawn itself counts.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time

from bench import rig
from bench.measure import Figures, limit, spread

PROCESSES = 100
AMONG = 500


def exec_to_accepted(server: rig.EmbeddedBackend, group: rig.Sleepers) -> dict[str, float]:
    """Milliseconds, over processes started at random times."""
    started = {}
    for _ in range(PROCESSES):
        time.sleep(random.uniform(0.01, 0.3))
        now = time.monotonic()
        started[group.start()] = now
    seen = rig.wait_for_pids(server, set(started))
    return spread([1000 * (seen[pid] - at) for pid, at in started.items()])


def main() -> None:
    figures = Figures("exec to accepted by the backend")
    figures.start()
    with rig.backend() as server, rig.sleepers(AMONG) as group, rig.agent(server):
        rig.wait_for_pids(server, set(group.pids))
        quiet = exec_to_accepted(server, group)
        churn = subprocess.Popen([sys.executable, "-m", "bench.churn", "500", "60"])
        try:
            time.sleep(1)
            busy = exec_to_accepted(server, group)
        finally:
            churn.terminate()
            churn.wait()
    limit(figures, f"idle host with {AMONG} processes, p50", quiet["p50"], "ms", 140)
    limit(figures, "  p99", quiet["p99"], "ms", 200)
    figures.add("  max", quiet["max"], "ms")
    figures.add("with 500 short processes a second, p50", busy["p50"], "ms")
    limit(figures, "  p99", busy["p99"], "ms", 300)
    figures.add("  max", busy["max"], "ms")
    figures.end()


if __name__ == "__main__":
    main()
