"""Hard churn for as long as asked: ``python -m bench.soak [--seconds 1200] [--json]``.

Short processes all the time, waves of long-lived ones that come and go. Looks at the agent's
memory, descriptors and threads; the slope of memory is taken over the second half, after all
caches have filled.
"""

from __future__ import annotations

import statistics
import time

from bench.rig import agent, churn, sleepers
from bench.rig.backend import wait_for_pids
from bench.rig.cost import Cost, cost
from bench.rig.figures import Figures
from bench.rig.options import options
from rover.backend import EmbeddedBackend

SHORT_RATE = 400
WAVE, WAVE_TIME = 200, 10.0


def soak(pid: int, seconds: float) -> list[Cost]:
    samples = []
    with churn.running(SHORT_RATE, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with sleepers.running(WAVE):
                time.sleep(WAVE_TIME)
                samples.append(cost(pid))
    return samples


def quarters(samples: list[Cost]) -> list[list[Cost]]:
    size = max(1, len(samples) // 4)
    return [samples[at : at + size] for at in range(0, 4 * size, size) if samples[at:]]


def main() -> None:
    chosen = options(__doc__, seconds=1_200.0).parse_args()
    seconds: float = chosen.seconds
    figures = Figures(f"soak of {seconds:.0f} s", as_json=chosen.json)
    figures.start()
    with EmbeddedBackend() as server, agent.running(server) as pid:
        wait_for_pids(server, set())
        samples = soak(pid, seconds)
    late = samples[len(samples) // 2 :]
    for number, part in enumerate(quarters(samples), start=1):
        memory = statistics.mean(sample.rss for sample in part) / 2**20
        figures.add(f"memory in quarter {number}", memory, "MB")
    figures.add_memory(samples)
    figures.limit("descriptors more at the end", late[-1].descriptors - late[0].descriptors, "", 0)
    figures.limit("threads more at the end", late[-1].threads - late[0].threads, "", 0)
    figures.end()


if __name__ == "__main__":
    main()
