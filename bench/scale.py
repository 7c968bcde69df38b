"""How cost grows with the number of processes: ``python -m bench.scale [--json]``.

For 100, 1,000 and 10,000 processes that sleep, each an entity of its own: the time from the agent's
start to the complete first report, resident memory, and the CPU of one beat, of one reconcile with
a look at each process, and of one process that starts and ends among them. The CPU of each is a
difference: the same agent with a short and with a long period, with and without processes that
start. Beside it, what polling all of them with psutil every 5 s costs.
"""

from __future__ import annotations

import time

from bench.rig import agent, baseline, sleepers
from bench.rig.backend import wait_for_pids
from bench.rig.cost import cost, share_over
from bench.rig.figures import Figures
from bench.rig.options import options
from bench.rig.starts import cpu_of_a_life
from rover.backend import EmbeddedBackend
from rover.discovery.revisits import AGES

SIZES = (100, 1_000, 10_000)
WINDOW = 20.0
PREFIX = "process_discovery."


def complete(server: EmbeddedBackend, pids: set[int], since: float) -> float:
    """Seconds until the last of the processes was accepted."""
    seen = wait_for_pids(server, pids)
    return max(seen[pid] for pid in pids) - since


def at_rest(pid: int) -> float:
    """Seconds of CPU a second, over a while."""
    time.sleep(3)
    return share_over(pid, WINDOW) / 100


def cpu_of_starts(group: sleepers.Sleepers) -> tuple[float, float]:
    """Seconds of CPU a second at rest, and for a process from its start to its end."""
    options = [f"--set={PREFIX}{which}_period=600s" for which in ("heartbeat", "reconcile")]
    with EmbeddedBackend() as server, agent.running(server, *options) as pid:
        wait_for_pids(server, set(group.pids))
        quiet = at_rest(pid)
        return quiet, cpu_of_a_life(group, server, pid, quiet)


def cpu_with(group: sleepers.Sleepers, **periods: str) -> float:
    """Seconds of CPU a second with these periods."""
    options = [f"--set={PREFIX}{key}={value}" for key, value in periods.items()]
    with EmbeddedBackend() as server, agent.running(server, *options) as pid:
        wait_for_pids(server, set(group.pids))
        return at_rest(pid)


def cpu_of_polling() -> float:
    """Percent of a core."""
    with baseline.running("polling") as other:
        time.sleep(baseline.PERIOD / 2)
        return share_over(other.pid, 2 * WINDOW)


def measure(figures: Figures, size: int) -> float:
    with sleepers.running(size) as group:
        time.sleep(AGES[-1])  # as most on a host, they are not looked at again as young ones
        with EmbeddedBackend() as server:
            began = time.monotonic()
            with agent.running(server) as pid:
                first = complete(server, set(group.pids), began)
                time.sleep(5)
                memory = cost(pid).rss
        quiet, starting = cpu_of_starts(group)
        beating = cpu_with(group, heartbeat_period="1s", reconcile_period="600s")
        comparing = cpu_with(group, heartbeat_period="600s", reconcile_period="1s")
        polling = cpu_of_polling()
    name = f"{size:,} processes"
    last = size == SIZES[-1]
    if last:
        figures.limit(f"{name}: start to complete first report", first, "s", 5)
        figures.limit(f"{name}: CPU of a beat", 1000 * (beating - quiet), "ms", 50)
    else:
        figures.add(f"{name}: start to complete first report", first, "s")
        figures.add(f"{name}: CPU of a beat", 1000 * (beating - quiet), "ms")
    figures.add(f"{name}: CPU of a reconcile and a look at each", 1000 * (comparing - quiet), "ms")
    figures.add(f"{name}: CPU of a process that starts and ends", 1000 * starting, "ms")
    figures.add(f"{name}: CPU at rest beside them", 100 * quiet, "% core")
    figures.add(f"{name}: {baseline.NAMES['polling']} beside them", polling, "% core")
    figures.add(f"{name}: resident memory", memory / 2**20, "MB")
    return memory


def main() -> None:
    chosen = options(__doc__).parse_args()
    figures = Figures("cost by the number of processes", as_json=chosen.json)
    figures.start()
    memory = {size: measure(figures, size) for size in SIZES}
    grown = (memory[SIZES[-1]] - memory[SIZES[0]]) / (SIZES[-1] - SIZES[0]) / 1024
    figures.limit("memory growth a process", grown, "KB", 2)
    figures.end()


if __name__ == "__main__":
    main()
