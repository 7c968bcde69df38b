"""An outage with churn: ``python -m bench.outage [--json] [--seconds 600]``.

The backend is away while 100 processes a second start and as many end, 2,000 living at a time: how
the agent's memory develops, and how long after the return the backend holds what lives then.
"""

from __future__ import annotations

import time
from collections import deque

from bench.rig import agent, sleepers
from bench.rig.backend import difference, wait_for_pids
from bench.rig.cost import cost, share
from bench.rig.figures import Figures
from bench.rig.options import options
from rover.backend import EmbeddedBackend

RATE = 100
LIVING = 2_000
BEAT = 20.0
PARTS = 5
MB = 2**20


class Churn:
    """The oldest ends for each that starts."""

    def __init__(self, group: sleepers.Sleepers) -> None:
        self._group = group
        self._order: deque[int] = deque()
        self.living: dict[int, str] = {}

    def start(self) -> int:
        program = self._group.next_program()
        pid = self._group.start(program)
        self.living[pid] = program.name
        self._order.append(pid)
        program.unlink()  # a process keeps its program, and the folder stays small
        return pid

    def run(self, seconds: float) -> None:
        began = due = time.monotonic()
        while due < began + seconds:
            self.start()
            oldest = self._order.popleft()
            del self.living[oldest]
            self._group.end(oldest)
            due += 1 / RATE
            time.sleep(max(0.0, due - time.monotonic()))


def main() -> None:
    chosen = options(__doc__, seconds=600.0).parse_args()
    seconds: float = chosen.seconds
    title = f"an outage of {seconds:g} s at {RATE} new processes a second"
    figures = Figures(title, as_json=chosen.json)
    figures.start()
    with EmbeddedBackend() as server, sleepers.running() as group, agent.running(server) as pid:
        churn = Churn(group)
        wait_for_pids(server, {churn.start() for _ in range(LIVING)})
        churn.run(20.0)
        before = cost(pid)
        figures.add("resident before", before.rss / MB, "MB")
        server.faults.refuse()
        most = before.rss
        for part in range(1, PARTS + 1):
            churn.run(seconds / PARTS)
            after = cost(pid)
            most = max(most, after.rss)
            figures.add(f"resident after {part * seconds / PARTS:g} s", after.rss / MB, "MB")
        figures.limit("grown in the outage", (most - before.rss) / MB, "MB", 4)
        figures.add("CPU in the outage", share(before, after), "% core")
        server.faults.clear()
        back = time.monotonic()
        while difference(server, churn.living, back, BEAT):
            if time.monotonic() > back + 3 * BEAT:
                break
            time.sleep(0.05)
        figures.limit("return to complete", time.monotonic() - back, "s", BEAT)
        figures.add("resident after the return", cost(pid).rss / MB, "MB")
        figures.limit("rules broken", server.state.snapshot().violations_total, "", 0)
    figures.end()


if __name__ == "__main__":
    main()
