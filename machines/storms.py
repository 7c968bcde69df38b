"""Rows on many processes at once: what ends soon costs nothing, what stays is told, losses heal."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Final

from census_rig import Rig, running

from machines.attaching import PATIENCE, eventually

SECONDS: Final = 20.0
PREEMPTED_FROM: Final = (7, 0)
"""From this Linux on a raw tracepoint's program can be preempted (commit a46023d5616e, tracing:
Guard __DECLARE_TRACE() use of __DO_TRACE_CALL() with SRCU-fast). The kernel still runs each once at
a time on a processor, so it skips that of a process which runs where another was preempted in it.
"""

SHORT: Final = f"""
import os, time
end, lives = time.monotonic() + {SECONDS}, 0
while time.monotonic() < end:
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {{}}), 0)
    lives += 1
print(lives)
"""
OVER_OTHERS: Final = f"""
import os, random, signal, sys, time
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(int(sys.argv[1])))
end, staying = time.monotonic() + {SECONDS}, []
while time.monotonic() < end:
    time.sleep(random.uniform(0, 0.004))  # and then preempts whoever runs, wherever that is
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {{}}), 0)
    staying.append(os.posix_spawn("/bin/sleep", ["sleep", "1000"], {{}}))
    if len(staying) > 100:
        pid = staying.pop(0)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
print(*staying, flush=True)
sys.stdin.read()
"""
"""Ends each but its latest 100, whose pids it prints; they are its children until it is told."""


def preemptible() -> bool:
    """Tell whether this kernel's programs can be preempted, and so be skipped."""
    found = re.match(r"(\d+)\.(\d+)", platform.release())
    assert found, platform.release()
    return (int(found[1]), int(found[2])) >= PREEMPTED_FROM


@contextlib.contextmanager
def short_processes(makers: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Start and end processes as fast as it goes, from several processes, for `SECONDS`."""
    started = [
        subprocess.Popen([sys.executable, "-c", SHORT], stdout=subprocess.PIPE, text=True)
        for _ in range(makers)
    ]
    try:
        yield started
    finally:
        for maker in started:
            maker.kill()
            maker.wait()


def churn() -> str:
    """Among short processes some that stay: each is told once, and its end; losses are counted."""
    with running(timeout=PATIENCE) as rig, short_processes(2) as makers:
        staying = []
        while any(maker.poll() is None for maker in makers):
            staying.append(subprocess.Popen(["/bin/sleep", "1000"]))
            rig.seen.wait_for(staying[-1].pid, within=PATIENCE)
            if len(staying) % 2:
                staying[-1].kill()
                staying[-1].wait()
                rig.seen.wait_for(staying[-1].pid, gone=True, within=PATIENCE)
        told = [rig.seen.times_announced(each.pid) for each in staying]
        for each in staying:
            each.kill()
            each.wait()
            rig.seen.wait_for(each.pid, gone=True, within=PATIENCE)
        figures = rig.census.figures
        lost = figures.lost_pending + figures.lost_events + figures.unfollowed
    assert told == [1] * len(told), f"{told.count(0)} missing, {sum(told)} told of {len(told)}"
    return f"ok, {len(told)} of {len(told)}, {lost} losses counted"


def storm() -> str:
    """Short processes on every processor: nothing is lost, and the kernel skips no program."""
    with running(timeout=PATIENCE) as rig, short_processes(4) as makers:
        lives = sum(int(maker.communicate()[0]) for maker in makers)
        skipped = _skipped(rig)
    return f"ok, {lives / SECONDS:.0f} a second, none lost, {skipped}"


def over_others() -> str:
    """Real-time processes start and end over others that do: what the kernel skips is healed."""
    with running(timeout=PATIENCE) as rig, short_processes(4):
        makers = [
            subprocess.Popen(
                [sys.executable, "-c", OVER_OTHERS, str(priority)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for priority in (10, 20)
        ]  # fmt: skip
        living = []
        for maker in makers:
            assert maker.stdout
            living += [int(word) for word in maker.stdout.readline().split()]
        assert len(living) > len(makers), "next to none was started"
        for pid in living:
            rig.seen.wait_for(pid, within=PATIENCE)
        of_makers = {maker.pid for maker in makers}
        eventually(
            lambda: {pid for pid, ppid in _known(rig) if ppid in of_makers} == set(living),
            "exactly those that live",
        )
        skipped = _skipped(rig)
        for pid in living:
            os.kill(pid, signal.SIGKILL)
        for maker in makers:
            maker.communicate()
        for pid in living:
            rig.seen.wait_for(pid, gone=True, within=PATIENCE)
        figures = rig.census.figures
        healed = figures.repairs_new + figures.repairs_gone + figures.repairs_changed
    return f"ok, {len(living)} of {len(living)}, {skipped}, {healed} healed by a reconcile"


def _known(rig: Rig) -> list[tuple[int, int]]:
    """Return pid and parent of what is held to live."""
    return [(each.process.pid, each.process.ppid) for each in list(rig.seen.entities.values())]


def _skipped(rig: Rig) -> str:
    """Say how many events the kernel skipped: none may be uncounted, and none lost otherwise."""
    figures = rig.census.figures
    skipped = rig.discovery.inspect(lambda _: rig.probes.skipped(), PATIENCE)
    eventually(lambda: figures.skipped == skipped, f"{skipped} skipped in the figures")
    lost = (figures.lost_pending, figures.lost_events, figures.unfollowed)
    assert not any(lost), f"lost (pending, ring, tracked): {lost}"
    assert not skipped or preemptible(), f"the kernel skipped {skipped}"
    return f"{skipped} skipped, for programs are preempted here" if skipped else "none skipped"


ROWS: Final[dict[str, Callable[[], str]]] = {
    "churn": churn,
    "a storm of short processes": storm,
    "a storm of real-time ones over others": over_others,
}
