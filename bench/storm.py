"""What happens when much happens: ``python -m bench.storm [--json]``.

- 2,000 short processes a second for a minute: what is lost, what is read for nothing, the CPU; how
  many an agent that polls and a bare execsnoop see of them, and for how much CPU;
- 200 long-lived processes a second for 10 s: each reported once, and how fast;
- 16,384 processes forked at once, then gone: losses are counted, and after one reconcile the agent
  knows what /proc knows.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from typing import TYPE_CHECKING

import psutil
from prometheus_client.parser import text_string_to_metric_families

from bench.rig import agent, baseline, churn, sleepers
from bench.rig.backend import wait_for_pids
from bench.rig.cost import cost, share, share_over
from bench.rig.figures import Figures, spread
from bench.rig.options import options
from rover.backend import EmbeddedBackend

if TYPE_CHECKING:
    pass

CHURN_RATE, CHURN_TIME = 2_000, 60
BASELINE_TIME = 20
STARTS, STARTS_A_SECOND = 2_000, 200
BOMB = 16_384
RECONCILE = 30
"""Seconds, the default period."""
KEPT_MB = 5
"""Of the bomb's memory what may remain: tables keep their room."""
KTHREADD = 2

FORKS = """
import os, signal, sys
try:
    for _ in range(int(sys.argv[1])):
        if os.fork() == 0:
            signal.pause()
    print("ready", flush=True)
    sys.stdin.read()
finally:
    os.killpg(0, signal.SIGKILL)
"""
"""Lives until its standard input ends, and so never longer than the bench that started it."""


class Metrics:
    """The agent's own figures, read over HTTP."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.option = f"--set=status.addr=127.0.0.1:{self.port}"

    def read(self) -> Counter[str]:
        """Sum each family over its labels; those with a label also by name{value}."""
        url = f"http://127.0.0.1:{self.port}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
        sums: Counter[str] = Counter()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                sums[family.name] += sample.value
                for value in sample.labels.values():
                    sums[f"{family.name}{{{value}}}"] += sample.value
        return sums


def short_processes(figures: Figures, metrics: Metrics, pid: int) -> None:
    with churn.running(CHURN_RATE, CHURN_TIME) as short:
        before, had = cost(pid), metrics.read()
        time.sleep(CHURN_TIME - 3)
        used, got = share(before, cost(pid)), metrics.read()
        rate = short.started() / CHURN_TIME
    figures.limit(f"{rate:,.0f} short exec/s: events lost", (got - had)["rover_lost"], "", 0)
    figures.limit("  agent CPU", used, "% core", 0.5)
    ended = (got - had)["rover_unsettled_processes"]
    reads = (got - had)["rover_proc_reads"]
    figures.add("  processes that ended unsettled", ended, "")
    figures.add("  processes read in /proc in that time", reads, "")


def others(figures: Figures) -> None:
    for way, name in baseline.NAMES.items():
        with baseline.running(way) as other:
            time.sleep(3)
            with churn.running(CHURN_RATE, BASELINE_TIME) as short:
                used = share_over(other.pid, BASELINE_TIME - 3)
                started = short.started()
        seen = sum(each.name == "true" for each in other.seen)
        figures.add(f"  {name} sees of as many", 100 * seen / started, "%")
        figures.add(f"  {name}, CPU", used, "% core")


def starts(figures: Figures, server: EmbeddedBackend) -> None:
    with sleepers.running() as group:
        began, times = time.monotonic(), {}
        for number in range(STARTS):
            rest = began + number / STARTS_A_SECOND - time.monotonic()
            if rest > 0:
                time.sleep(rest)
            now = time.monotonic()
            times[group.start()] = now
        rate = STARTS / (time.monotonic() - began)
        seen = wait_for_pids(server, set(times))
        taken = spread([seen[pid] - at for pid, at in times.items()])
        held = Counter(row.pid for row in server.state.snapshot().processes if row.pid in times)
    twice = sum(amount > 1 for amount in held.values())
    figures.limit(f"{rate:.0f} long-lived starts/s: p99 to accepted", taken["p99"], "s", 1)
    figures.add("  p50", taken["p50"], "s")
    figures.limit("  reported more than once, or not", twice + len(times) - len(held), "", 0)


def bomb(figures: Figures, metrics: Metrics, pid: int) -> None:
    before, had = cost(pid), metrics.read()
    with subprocess.Popen(
        [sys.executable, "-c", FORKS, str(BOMB)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        time.sleep(5)
        grown = cost(pid)
        difference = difference_from_proc(metrics)
    time.sleep(RECONCILE + 5)
    lost = (metrics.read() - had)["rover_lost"]
    name = f"{BOMB:,} processes forked at once"
    figures.add(f"{name}: losses counted", lost, "")
    figures.add("  memory while they live", (grown.rss - before.rss) / 2**20, "MB more")
    figures.limit("  known and not in /proc, or the reverse", difference, "", 0)
    figures.limit("  the same after they are gone", difference_from_proc(metrics), "", 0)
    after = cost(pid)
    kept = (after.rss - before.rss) / 2**20
    figures.limit("  memory a reconcile after they are gone", kept, "MB more", KEPT_MB)
    figures.add("  agent CPU for all of it", after.cpu - before.cpu, "s")


def difference_from_proc(metrics: Metrics) -> float:
    """Compare processes; no event tells of threads of the kernel, they wait for a reconcile."""
    known = metrics.read()["rover_processes"]
    alive = sum(
        process.info["status"] != psutil.STATUS_ZOMBIE
        and KTHREADD not in (process.pid, process.info["ppid"])
        for process in psutil.process_iter(["status", "ppid"])
    )
    return abs(known - alive)


def main() -> None:
    chosen = options(__doc__).parse_args()
    figures = Figures("storms", as_json=chosen.json)
    figures.start()
    metrics = Metrics()
    with EmbeddedBackend() as server, agent.running(server, metrics.option) as pid:
        time.sleep(5)
        short_processes(figures, metrics, pid)
    others(figures)
    with EmbeddedBackend() as server, agent.running(server, metrics.option) as pid:
        time.sleep(5)
        starts(figures, server)
        bomb(figures, metrics, pid)
    figures.end()


if __name__ == "__main__":
    main()
