"""What the agent costs: ``python -m bench.footprint [--json] [--processes N] [--pid PID]``.

Memory and CPU with 500 and 2,000 processes at rest, and CPU while 1,000 and 2,000 short processes a
second come and go. Beside it, in the same run, what others do: read all of /proc with psutil every
5 s, and tell every exec to user space by BCC, as execsnoop does. With --pid another agent that runs
already is measured the same way; the baselines and our agent are left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from bench.rig import agent, baseline, churn, sleepers
from bench.rig.backend import wait_for_pids
from bench.rig.cost import cost, share_over
from bench.rig.figures import Figures
from bench.rig.options import options
from rover.backend import EmbeddedBackend

REST = 60.0
CHURN = 20.0


def started_on_host() -> int:
    """Processes and threads that this host has ever started: says how much at rest it was."""
    text = Path("/proc/stat").read_text()
    return int(text.partition("\nprocesses ")[2].split()[0])


def churned(pid: int, rate: int) -> tuple[float, float]:
    """Percent of a core, and the rate that was reached."""
    with churn.running(rate, CHURN + 2) as short:
        used = share_over(pid, CHURN)
        started = short.started()
    return used, started / (CHURN + 2)


Add = Callable[[str, float, str, float], None]


def measure(figures: Figures, name: str, pid: int, processes: int, *, ours: bool) -> None:
    def add(what: str, value: float, unit: str, aim: float) -> None:
        if ours:
            figures.limit(f"{name}, {what}", value, unit, aim)
        else:
            figures.add(f"{name}, {what}", value, unit)

    starts = started_on_host()
    at_rest = share_over(pid, REST)
    starts = (started_on_host() - starts) / REST
    add(f"CPU at rest, {processes} processes", at_rest, "% core", 0.2)
    figures.add("  starts a second on the host meanwhile, threads too", starts, "/s")
    add(f"resident memory, {processes} processes", cost(pid).rss / 2**20, "MB", 60)
    for rate, aim in ((1000, 1.0), (2000, 0.5)):
        used, reached = churned(pid, rate)
        add(f"CPU at {reached:.0f} exec/s", used, "% core", aim)


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--processes", type=int, help="so many at rest, no other number")
    parser.add_argument("--pid", type=int, help="of another agent, to be measured alone")
    chosen = parser.parse_args()
    figures = Figures("what an agent costs", as_json=chosen.json)
    figures.start()
    if chosen.pid:
        with sleepers.running(500):
            time.sleep(30)
            measure(figures, f"pid {chosen.pid}", chosen.pid, 500, ours=False)
    else:
        for processes in (chosen.processes,) if chosen.processes else (500, 2000):
            with EmbeddedBackend() as server, sleepers.running(processes) as group:
                with agent.running(server) as pid:
                    wait_for_pids(server, set(group.pids))
                    time.sleep(5)
                    measure(figures, "rover", pid, processes, ours=True)
                for way, name in baseline.NAMES.items():
                    with baseline.running(way) as other:
                        time.sleep(5)
                        measure(figures, name, other.pid, processes, ours=False)
    figures.end()


if __name__ == "__main__":
    main()
