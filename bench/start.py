"""From the start of the agent to its eyes being open: ``python -m bench.start [--json]``.

Several starts, one after the other, among 500 processes that sleep: when the programs are attached,
when the backend holds every process, and how long a stop takes. The clock starts before the fork.
Beside it, when an agent that polls has seen them.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from typing import TYPE_CHECKING

from bench.rig import agent, baseline, sleepers
from bench.rig.figures import Figures, spread
from bench.rig.options import options
from rover.backend import EmbeddedBackend

if TYPE_CHECKING:
    from collections.abc import Iterable

STARTS = 10
PROCESSES = 500
ATTACHED = "probes attached"


def start(server: EmbeddedBackend, pids: Iterable[int]) -> tuple[float, float, float]:
    """Start and stop an agent; return the seconds to its programs, to the report, to its end."""
    server.restart(keep_memory=False)
    with tempfile.TemporaryDirectory() as state:
        began = time.monotonic()
        with subprocess.Popen(
            [agent.ROVER, "start", "--state-dir", state],
            env=agent.environment(server),
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stderr is not None
            for line in process.stderr:
                if ATTACHED in line:
                    break
            attached = time.monotonic() - began
            wanted = set(pids)
            server.state.wait_for(
                lambda held: wanted <= {row.pid for row in held.processes if row.visible}
            )
            reported = time.monotonic() - began
            ending = time.monotonic()
            process.terminate()
            process.communicate(timeout=10)
            return attached, reported, time.monotonic() - ending


def polling(pids: Iterable[int]) -> float:
    """Seconds from the start of one that polls until it has seen all, reported to nobody."""
    began = time.monotonic()
    with baseline.running("polling") as other:
        time.sleep(baseline.PERIOD)
    seen = other.times(sleepers.PREFIX)
    return max(seen[pid] for pid in pids) - began


def main() -> None:
    chosen = options(__doc__).parse_args()
    figures = Figures(f"{STARTS} starts among {PROCESSES} processes", as_json=chosen.json)
    figures.start()
    with sleepers.running(PROCESSES) as group, EmbeddedBackend() as server:
        times = [start(server, group.pids) for _ in range(STARTS)]
        others = polling(group.pids)
    for name, aim, seconds in zip(
        ("start to the programs attached", "start to all reported", "SIGTERM to the end"),
        (1, 5, 5),
        map(spread, zip(*times, strict=True)),
        strict=True,
    ):
        figures.add(f"{name}, p50", seconds["p50"], "s")
        figures.limit("  max", seconds["max"], "s", aim)
    figures.add(f"{baseline.NAMES['polling']}: start to all seen", others, "s")
    figures.end()


if __name__ == "__main__":
    main()
