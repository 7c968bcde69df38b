"""What looking again at known processes costs: ``python -m bench.changes [--json]``.

First one look by itself: at a process that has not run since, and at one that has. Then the whole
agent with 2,000 old processes that sleep, with looks and reconciles and without; then with 2,000
that wake every few seconds; and 200 long-lived starts a second, whose processes are all young.
"""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from bench import rig
from bench.measure import Figures, cost, limit, share
from bench.storm import Metrics
from rover.discovery.procfs import ProcReader
from rover.discovery.revisits import AGES
from rover.discovery.second_looks import SecondLooks
from rover.model import Process, Verdict
from rover.table import Table

OLD = 2_000
PERIOD = 30.0
WINDOW = 60.0
STARTS_A_SECOND, STARTS_TIME = 200, 15.0
LOOKS_OFF = "--set=process_discovery.reconcile_period=3600s"
WAKING = """
import os, sys, time
for _ in range(int(sys.argv[1])):
    if os.fork() == 0:
        while True:
            time.sleep(5)
print(flush=True)
time.sleep(3600)
"""


class _Ran(ProcReader):
    """Takes every process to have run, as one that does is read anew each time."""

    @staticmethod
    def run_time(pid: int) -> int | None:
        ProcReader.run_time(pid)
        return None


def microseconds(reader: ProcReader, pids: list[int]) -> float:
    """CPU of one look."""
    table = Table()
    looks = SecondLooks(table=table, reader=reader, put=lambda _: None, period=PERIOD)
    for pid in pids:
        ran = reader.run_time(pid)
        process = reader.read(pid)
        assert isinstance(process, Process)
        table.put(process, Verdict())
        looks.note(None, process, ran)
    now, each = time.monotonic() + 3600, []
    for _ in range(60):
        now += PERIOD / 60
        before, began = looks.looks, time.thread_time()
        looks.look(now)
        if looks.looks > before:
            each.append(1e6 * (time.thread_time() - began) / (looks.looks - before))
    return statistics.median(each)


def one_look(figures: Figures) -> None:
    with rig.sleepers(500) as group:
        time.sleep(AGES[-1] + 1)
        figures.add("one look: it has not run", microseconds(ProcReader(), group.pids), "us")
        figures.add("one look: it has run", microseconds(_Ran(), group.pids), "us")


@contextlib.contextmanager
def waking(amount: int) -> Iterator[None]:
    """Have so many processes that wake every 5 s."""
    parent = subprocess.Popen(
        [sys.executable, "-c", WAKING, str(amount)], stdout=subprocess.PIPE, start_new_session=True
    )
    assert parent.stdout is not None
    parent.stdout.readline()
    try:
        yield
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()


def at_rest(*options: str) -> float:
    """Percent of a core that the agent takes of what runs already."""
    with rig.backend() as server, rig.agent(server, *options) as pid:
        time.sleep(AGES[-1] + 7)
        before = cost(pid)
        time.sleep(WINDOW)
        assert server.state.snapshot().processes
        return share(before, cost(pid))


def old(figures: Figures) -> None:
    with rig.sleepers(OLD):
        looking, not_looking = at_rest(), at_rest(LOOKS_OFF)
    limit(figures, f"{OLD:,} old ones asleep: agent CPU at rest", looking, "% core", 0.2)
    figures.add("  the same without looks and reconciles", not_looking, "% core")
    with waking(OLD):
        looking, not_looking = at_rest(), at_rest(LOOKS_OFF)
    figures.add(f"{OLD:,} old ones that wake: agent CPU", looking, "% core")
    figures.add("  the same without looks and reconciles", not_looking, "% core")


def looks(metrics: Metrics) -> float:
    return metrics.read()["rover_second_looks"]


def young(figures: Figures) -> None:
    metrics = Metrics()
    with (
        rig.backend() as server,
        rig.agent(server, metrics.option) as pid,
        rig.sleepers() as group,
    ):
        time.sleep(5)
        began, before, had = time.monotonic(), cost(pid), looks(metrics)
        for number in range(int(STARTS_A_SECOND * STARTS_TIME)):
            rest = began + number / STARTS_A_SECOND - time.monotonic()
            if rest > 0:
                time.sleep(rest)
            group.start()
        middle, made = cost(pid), looks(metrics) - had
        had = looks(metrics)
        time.sleep(AGES[-1] + 1)
        after, later = cost(pid), looks(metrics) - had
    seconds = middle.at - before.at
    name = f"{STARTS_A_SECOND} starts/s, each an entity: agent CPU"
    figures.add(name, share(before, middle), "% core")
    figures.add("  looks a second", made / seconds, "/s")
    figures.add("after the last start, looks alone: agent CPU", share(middle, after), "% core")
    figures.add("  looks a second", later / (after.at - middle.at), "/s")


def main() -> None:
    figures = Figures("looking again at known processes")
    figures.start()
    one_look(figures)
    old(figures)
    young(figures)
    figures.end()


if __name__ == "__main__":
    main()
