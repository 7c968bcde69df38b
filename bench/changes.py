"""What looking again at known processes costs: ``python -m bench.changes [--json]``.

The looks alone, as a thread that knows no other process makes them: one at a process that has not
run since and one at a process that has, then 2,000 old processes that sleep, 2,000 that wake every
few seconds, and 200 starts a second, which are all young. Last the whole agent with 2,000 old
processes that sleep, with its looks and reconciles and without.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

from bench.rig import agent, sleepers
from bench.rig.cost import share_over
from bench.rig.figures import Figures
from bench.rig.options import options
from rover.backend import EmbeddedBackend
from rover.discovery.cgroup_rounds import NO_TREES, trees_here
from rover.discovery.procfs import ProcReader
from rover.discovery.revisits import AGES
from rover.discovery.second_looks import SecondLooks
from rover.model import Process, Verdict
from rover.table import Table

OLD = 2_000
PERIOD = 30.0
WINDOW = 60.0
STARTS_A_SECOND, STARTS_TIME = 200, 20.0
OFF = "--set=process_discovery.reconcile_period=3600s"
WAKING = """
import os, sys, time
pids = []
for _ in range(int(sys.argv[1])):
    pid = os.fork()
    if pid == 0:
        while True:
            time.sleep(5)
    pids.append(pid)
print(*pids, flush=True)
time.sleep(3600)
"""


class _Ran(ProcReader):
    """Takes every process to have run, as one that does is read anew each time."""

    @staticmethod
    def run_time(pid: int) -> int | None:
        ProcReader.run_time(pid)
        return None


class Looks:
    """Second looks without an agent around them."""

    def __init__(self, reader: ProcReader, *, see_trees: bool = True) -> None:
        own = reader.cgroup(os.getpid()) or ""
        trees = trees_here(reader.mounts(), own) if see_trees else NO_TREES
        self.reader = reader
        self.table = Table()
        self.looks = SecondLooks(
            table=self.table,
            reader=reader,
            admit=self._admit,
            judge_again=lambda _: None,
            one=self._one,
            period=PERIOD,
            trees=trees,
        )
        self.started: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.cpu = 0.0
        """Seconds that the thread took, but for reading what is new."""
        self.wake_ups = 0
        self.poll = WINDOW
        """Seconds between two looks whether anything was started."""
        self._stopping = threading.Event()

    def _put(self, process: Process) -> None:
        self.table.put(process, Verdict())

    def _admit(self, pid: int) -> None:
        process = self.reader.read(pid)
        if isinstance(process, Process):
            self._put(process)

    @staticmethod
    def _one(
        _where: str, _pid: int, step: Callable[..., object], *what: object, **how: object
    ) -> bool:
        step(*what, **how)
        return True

    def note(self, pid: int) -> None:
        """Begin to look at a process."""
        ran, process = self.reader.run_time(pid), self.reader.read(pid)
        if isinstance(process, Process):
            self._put(process)
            self.looks.note(None, process, ran)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Look in a thread until the end of the block."""
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            thread.join()

    def _run(self) -> None:
        noting = 0.0
        while not self._stopping.is_set():
            due = self.looks.next_look()
            pause = self.poll if due is None else due - time.monotonic()
            self._stopping.wait(min(max(0.0, pause), self.poll))
            began = time.thread_time()
            while not self.started.empty():
                self.note(self.started.get())
            noting += time.thread_time() - began
            due = self.looks.next_look()
            if due is not None and due <= time.monotonic():
                self.wake_ups += 1
                self.looks.look(time.monotonic())
            self.cpu = time.thread_time() - noting


def microseconds(reader: ProcReader, pids: list[int]) -> float:
    """CPU of one look, median."""
    alone, each = Looks(reader), []
    for pid in pids:
        alone.note(pid)
    now = time.monotonic() + 3600
    for _ in range(60):
        now += PERIOD / 60
        before, began = alone.looks.looks, time.thread_time()
        alone.looks.look(now)
        if alone.looks.looks > before:
            each.append(1e6 * (time.thread_time() - began) / (alone.looks.looks - before))
    return statistics.median(each)


def one_look(figures: Figures) -> None:
    with sleepers.running(500) as group:
        time.sleep(AGES[-1] + 1)
        figures.add("one look: it has not run", microseconds(ProcReader(), group.pids), "us")
        figures.add("one look: it has run", microseconds(_Ran(), group.pids), "us")


def alone(figures: Figures, name: str, pids: list[int], *, see_trees: bool = True) -> None:
    looks = Looks(ProcReader(), see_trees=see_trees)
    for pid in pids:
        looks.note(pid)
    with looks.running():
        time.sleep(AGES[-1] + 1)
        cpu, wake_ups, made = looks.cpu, looks.wake_ups, looks.looks.looks
        time.sleep(WINDOW)
        figures.add(f"{name}: CPU of the looks alone", 100 * (looks.cpu - cpu) / WINDOW, "% core")
        figures.add("  wake-ups a second", (looks.wake_ups - wake_ups) / WINDOW, "/s")
        figures.add("  looks a second", (looks.looks.looks - made) / WINDOW, "/s")


@contextlib.contextmanager
def waking(amount: int) -> Iterator[list[int]]:
    """Have so many processes that wake every 5 s."""
    parent = subprocess.Popen(
        [sys.executable, "-c", WAKING, str(amount)], stdout=subprocess.PIPE, start_new_session=True
    )
    assert parent.stdout is not None
    try:
        yield [int(pid) for pid in parent.stdout.readline().split()]
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()


def young(figures: Figures) -> None:
    looks = Looks(ProcReader())
    looks.poll = 0.1
    with looks.running(), sleepers.running() as group:
        began = time.monotonic()
        for number in range(int(STARTS_A_SECOND * STARTS_TIME)):
            rest = began + number / STARTS_A_SECOND - time.monotonic()
            if rest > 0:
                time.sleep(rest)
            looks.started.put(group.start())
        seconds = time.monotonic() - began
        name = f"{len(group.pids) / seconds:.0f} starts/s"
        figures.add(f"{name}: CPU of the looks alone", 100 * looks.cpu / seconds, "% core")
        figures.add("  wake-ups a second", looks.wake_ups / seconds, "/s")
        figures.add("  looks a second", looks.looks.looks / seconds, "/s")


def at_rest(*settings: str) -> float:
    """Percent of a core that the agent takes of what runs already."""
    with EmbeddedBackend() as server, agent.running(server, *settings) as pid:
        time.sleep(AGES[-1] + 7)
        return share_over(pid, WINDOW)


def main() -> None:
    chosen = options(__doc__).parse_args()
    figures = Figures("looking again at known processes", as_json=chosen.json)
    figures.start()
    one_look(figures)
    with sleepers.running(OLD) as group:
        name = f"{OLD:,} old ones asleep"
        alone(figures, name, group.pids)
        alone(figures, f"{name}, cgroups unseen", group.pids, see_trees=False)
    with waking(OLD) as pids:
        alone(figures, f"{OLD:,} old ones that wake every 5 s", pids)
    young(figures)
    with sleepers.running(OLD):
        looking, not_looking = at_rest(), at_rest(OFF)
    figures.limit(f"{OLD:,} old ones asleep: agent CPU at rest", looking, "% core", 0.2)
    figures.add("  the same without looks and reconciles", not_looking, "% core")
    figures.end()


if __name__ == "__main__":
    main()
