"""Processes that live for 50 ms, which the agent never reads: ``python -m bench.short [--json]``.

What they cost the thread that looks whether they have settled, and by how much they make it late
for those that do. On a host alone; the busiest thread of the agent is taken for that thread.
"""

from __future__ import annotations

import time
from pathlib import Path

from bench.rig import agent, churn, sleepers
from bench.rig.backend import wait_for_pids
from bench.rig.figures import Figures
from bench.rig.options import options
from bench.rig.starts import exec_to_accepted
from rover.backend import EmbeddedBackend

LIFE = 0.05
RATE, HIGH_RATE = 500, 2_000
MEASURED = 30.0
LATENCY = 40.0
"""Seconds that are enough for the starts of which the delays are taken."""


def threads_cpu(pid: int) -> dict[str, float]:
    """Return the seconds that each thread has run."""
    return {
        task.name: int((task / "schedstat").read_text().split()[0]) / 1e9
        for task in Path(f"/proc/{pid}/task").iterdir()
    }


def cost_of(pid: int, rate: int) -> tuple[float, float]:
    """Seconds of CPU a minute of the busiest thread, and the rate that was reached."""
    with churn.running(rate, MEASURED + 2, LIFE) as short:
        before, began = threads_cpu(pid), time.monotonic()
        time.sleep(MEASURED)
        lasted = time.monotonic() - began
        used = max(cpu - before.get(task, 0.0) for task, cpu in threads_cpu(pid).items())
        started = short.started()
    return 60 * used / lasted, started / (MEASURED + 2)


def main() -> None:
    chosen = options(__doc__).parse_args()
    figures = Figures("processes that live for 50 ms", as_json=chosen.json)
    figures.start()
    with (
        EmbeddedBackend() as server,
        sleepers.running(100) as group,
        agent.running(server) as pid,
    ):
        wait_for_pids(server, set(group.pids))
        time.sleep(10)
        for rate, aim in ((RATE, 0.2), (HIGH_RATE, 0.2)):
            used, reached = cost_of(pid, rate)
            figures.limit(f"{reached:.0f} a second, CPU of discovery", used, "s a minute", aim)
        with churn.running(RATE, LATENCY, LIFE):
            delays = exec_to_accepted(server, group)
        figures.add(f"exec to accepted among {RATE} a second, p50", delays["p50"], "ms")
        figures.limit("  p99", delays["p99"], "ms", 150)
        figures.add("  max", delays["max"], "ms")
    figures.end()


if __name__ == "__main__":
    main()
