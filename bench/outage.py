"""An outage with churn: ``python -m bench.outage [--json] [--seconds 600]``.

The backend is away while 100 processes a second start and as many end, 2,000 living at a time. How
the reporter's memory develops, and how long after the return the backend holds what lives then. The
processes are made up; discovery is left out.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
from collections import deque

from bench.beat import made_up, resident
from bench.measure import Figures, cpu_seconds, limit

RATE = 100
LIVING = 2000
HEARTBEAT = 20.0
MB = 2**20


def child(address: str) -> None:
    """Be the agent: churn until the parent says a word, then tell what lives, then end."""
    from rover.config.settings import BackendSettings, DiscoverySettings  # noqa: PLC0415
    from rover.model import Changes  # noqa: PLC0415
    from rover.reporter import Phase, Reporter  # noqa: PLC0415

    discovery = DiscoverySettings(heartbeat_period=HEARTBEAT)
    reporter = Reporter(BackendSettings(addr=address), discovery, "bench")
    reporter.start()
    living = deque(map(made_up, range(LIVING)))
    numbers = itertools.count(LIVING)
    reporter.publish(Changes(announced=tuple(living)))
    while reporter.session.phase is not Phase.BEATING or reporter.session.waiting:
        time.sleep(0.01)
    for word in sys.stdin:
        seconds = float(word)
        began = due = time.monotonic()
        while seconds and due < began + seconds:
            born = made_up(next(numbers))
            living.append(born)
            gone = living.popleft()
            reporter.publish(Changes(announced=(born,), withdrawn=(gone.entity.key,)))
            due += 1 / RATE
            time.sleep(max(0.0, due - time.monotonic()))
        told = {
            "pids": [one.process.pid for one in living],
            "rss": resident(),
            "cpu": cpu_seconds(os.getpid()),
            "entities": reporter.session.entities,
        }
        print(json.dumps(told), flush=True)
    reporter.stop()


def main(seconds: float) -> None:
    from bench import rig  # noqa: PLC0415  the child must not load a backend

    figures = Figures(f"an outage of {seconds:g} s at {RATE} new processes a second")
    figures.start()
    command = [sys.executable, "-m", "bench.outage", "--child"]
    with (
        rig.backend() as server,
        subprocess.Popen(
            [*command, server.address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as agent,
    ):

        def churn(lasting: float) -> dict[str, float | list[int]]:
            agent.stdin.write(f"{lasting}\n")
            agent.stdin.flush()
            return json.loads(agent.stdout.readline())

        churn(20)
        before = churn(0)
        figures.add("resident before", before["rss"] / MB, "MB")
        server.faults.refuse()
        parts = 5
        for part in range(1, parts + 1):
            told = churn(seconds / parts)
            figures.add(f"resident after {part * seconds / parts:g} s", told["rss"] / MB, "MB")
        limit(figures, "grown in the outage", (told["rss"] - before["rss"]) / MB, "MB", 4)
        used = 100 * (told["cpu"] - before["cpu"]) / seconds
        figures.add("CPU in the outage, the churn's making included", used, "% core")
        alive = set(churn(0)["pids"])
        server.faults.clear()
        back = time.monotonic()
        server.state.wait_for(
            lambda held: (
                alive
                == {
                    row.pid
                    for row in held.processes
                    if row.visible and row.last_ping and row.last_ping.monotonic > back
                }
            ),
            2 * HEARTBEAT,
        )
        limit(figures, "return to complete", time.monotonic() - back, "s", HEARTBEAT)
        figures.add("resident after the return", churn(0)["rss"] / MB, "MB")
        limit(figures, "rules broken", server.state.snapshot().violations_total, "", 0)
        agent.stdin.close()
    figures.end()


if __name__ == "__main__":
    if "--child" in sys.argv:
        child(sys.argv[-1])
    else:
        arguments = argparse.ArgumentParser()
        arguments.add_argument("--seconds", type=float, default=600.0)
        arguments.add_argument("--json", action="store_true")
        main(arguments.parse_args().seconds)
