"""What it costs an agent to be asked: ``python -m bench.telling [--json]``.

Among 10,000 processes that sleep, each an entity of its own: the agent's CPU for each question of
the operator's commands, and how long the asker waits. Then what `rover events` costs: the CPU of a
host at rest, and of a process that starts and ends, before anybody has listened, while somebody
listens, and after the listener has gone; and what discovery asks at each event while nobody does.
"""

from __future__ import annotations

import contextlib
import signal
import statistics
import subprocess
import tempfile
import time
import timeit
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.rig import agent, sleepers
from bench.rig.backend import wait_for_pids
from bench.rig.cost import cost, share_over
from bench.rig.figures import Figures
from bench.rig.node import Node
from bench.rig.options import options
from bench.rig.starts import cpu_of_a_life
from rover.backend import EmbeddedBackend
from rover.discovery.feed import LISTENING, Feed
from rover.explain.story import MOST
from rover.status.client import ask

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = 10_000
ID = "5e1f" * 16
CONTAINER = f"/kubepods-bench/cri-containerd-{ID}.scope"
WINDOW = 10.0
CALM = [f"--set=process_discovery.{which}_period=600s" for which in ("heartbeat", "reconcile")]
AGENT_MS = 200
"""Aim for the CPU of a story."""
LOOKS = 1_000_000


@dataclass
class Asking:
    """Asks an agent."""

    figures: Figures
    pid: int
    state: str

    def cpu_of(self, what: str, target: str, times: int) -> float:
        """Ask so many times; return the agent's milliseconds of CPU for an answer."""
        waits, before = [], cost(self.pid).cpu
        for _ in range(times):
            began = time.monotonic()
            told = ask(self.state, target)
            waits.append(time.monotonic() - began)
            if told.status >= 400:
                raise RuntimeError(f"{target}: {told.body[:200]!r}")
        self.figures.add(f"{what}: answered within", 1000 * statistics.median(waits), "ms")
        return 1000 * (cost(self.pid).cpu - before) / times

    def all_questions(self, one: int) -> None:
        """Ask what operators ask; of single processes, of this one."""
        for what, target in (
            ("explain PID", f"/explain?pid={one}"),
            (f"explain --container, {MOST} in full", f"/explain?container={ID}"),
        ):
            self.figures.limit(f"{what}: CPU", self.cpu_of(what, target, 20), "ms", AGENT_MS)
        for what, target, times in (("status", "/status", 20), ("ps", "/processes", 3)):
            self.figures.add(f"{what}: CPU", self.cpu_of(what, target, times), "ms")


@contextlib.contextmanager
def listening(state: str) -> Iterator[None]:
    """Have `rover events` listen until the end of the block."""
    command = [str(agent.ROVER), "events", "-o", "json", "--state-dir", state]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as listener:
        time.sleep(2)
        yield
        listener.send_signal(signal.SIGINT)


def asked_at_each_event() -> float:
    """Nanoseconds to ask whether somebody listens."""
    feed = Feed()
    seconds = timeit.timeit("feed.is_heard", globals={"feed": feed}, number=LOOKS)
    return 1e9 * seconds / LOOKS


def measure(figures: Figures, server: EmbeddedBackend, group: sleepers.Sleepers) -> None:
    with (
        tempfile.TemporaryDirectory() as state,
        Node() as node,
        agent.running(server, f"--state-dir={state}", *CALM) as pid,
    ):
        for _ in range(MOST + 1):
            node.run(CONTAINER, "/bin/sleep", "3600")
        wait_for_pids(server, set(group.pids))
        time.sleep(10)  # until second looks at what is young are rare

        def priced(when: str) -> None:
            rest = share_over(pid, WINDOW)
            figures.add(f"CPU at rest, {when}", rest, "% core")
            start = 1000 * cpu_of_a_life(group, server, pid, rest / 100)
            figures.add(f"CPU of a start and its end, {when}", start, "ms")

        priced("nobody has listened yet")
        with listening(state):
            priced("one listens")
        time.sleep(2 * LISTENING)
        priced("nobody listens any longer")
        Asking(figures, pid, state).all_questions(group.pids[SIZE // 2])


def main() -> None:
    chosen = options(__doc__).parse_args()
    figures = Figures(f"what it costs to be asked, among {SIZE:,} processes", as_json=chosen.json)
    figures.start()
    figures.add("asked at each event while nobody listens", asked_at_each_event(), "ns")
    with EmbeddedBackend() as server, sleepers.running(SIZE) as group:
        measure(figures, server, group)
    figures.end()


if __name__ == "__main__":
    main()
