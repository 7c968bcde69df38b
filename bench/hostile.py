"""Hostile neighbours of all kinds at once: ``python -m bench.hostile [--seconds 600] [--seed N]``.

The agent as its users run it, with its status address open, among 500 ordinary processes; beside
them each kind of `bench.neighbours`, as another user. An ordinary process starts now and then: how
long until the backend has accepted it? The agent is asked for its health as a kubelet would ask.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from bench.neighbours.kinds import KINDS
from bench.rig import sleepers
from bench.rig.agent import ROVER, environment
from bench.rig.backend import wait_for_pids
from bench.rig.cost import Cost, cost, share
from bench.rig.figures import Figures, spread
from rover.backend import EmbeddedBackend

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

AMONG = 500
SETTLED = 5.0
"""Seconds from when all ordinary processes are known to the first look at memory."""
CALM = 20.0
"""Seconds after the neighbours have gone until the agent is looked at for what is left."""
TIMERS = 75.0
"""Seconds that the agent's threads may take which wait for a time, as the log does to sum up."""
HEALTH_EVERY = 1.0
HEALTH_WITHIN = 2.0
"""Seconds that a kubelet's probe waits at most; its default is 1."""


@dataclass
class Result:
    """What a run came to."""

    delays: list[float] = field(default_factory=list)
    """Milliseconds from the start of each ordinary process until it was accepted."""
    before: Cost | None = None
    samples: list[Cost] = field(default_factory=list)
    after: Cost | None = None
    probes: int = 0
    unhealthy: list[str] = field(default_factory=list)
    """What a probe got instead of a 200."""
    stop_seconds: float = 0.0
    stop_status: int | None = None
    neighbours: dict[str, str] = field(default_factory=dict)
    """Kinds that could not be, or gave up."""
    said: str = ""
    """What neighbours had to say."""
    log: str = ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def neighbours(
    kinds: tuple[str, ...],
    seconds: float,
    seed: int,
    *,
    status: str,
    state_dir: str,
    result: Result,
) -> Iterator[None]:
    """Run one neighbour of each kind; tell which of them failed."""
    with tempfile.TemporaryFile() as words:
        running = {
            kind: subprocess.Popen(
                [
                    *(sys.executable, "-m", "bench.neighbours", kind),
                    *("--seconds", str(seconds), "--seed", str(seed)),
                    *("--status", status, "--state-dir", state_dir),
                ],
                stderr=words,
                start_new_session=True,
            )
            for kind in kinds
        }
        try:
            yield
        finally:
            for process in running.values():
                process.terminate()
            for kind, process in running.items():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(20)
                # what it has left of its own
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                if process.wait() not in {0, -signal.SIGTERM}:
                    result.neighbours[kind] = f"status {process.returncode}"
            words.seek(0)
            result.said = words.read().decode(errors="replace")


def ask_health(address: str, result: Result) -> None:
    result.probes += 1
    try:
        connection = http.client.HTTPConnection(address, timeout=HEALTH_WITHIN)
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        if answer.status != http.HTTPStatus.OK:
            result.unhealthy.append(f"{answer.status} {text}")
    except (OSError, http.client.HTTPException) as error:
        result.unhealthy.append(repr(error))


def run(
    seconds: float,
    seed: int,
    kinds: tuple[str, ...] = tuple(KINDS),
    among: int = AMONG,
    calm: float = CALM,
) -> Result:
    """Have the neighbours at the agent for so long, then let it rest, then end it."""
    result, random = Result(), Random(seed)
    status = f"127.0.0.1:{free_port()}"
    with (
        EmbeddedBackend() as server,
        sleepers.running(among) as group,
        tempfile.TemporaryDirectory() as state_dir,
        tempfile.TemporaryFile() as log,
    ):
        agent = subprocess.Popen(
            [ROVER, "start", "--state-dir", state_dir, f"--set=status.addr={status}"],
            env=environment(server),
            stderr=log,
            stdout=log,
        )
        try:
            wait_for_pids(server, set(group.pids))
            time.sleep(SETTLED)
            result.before = cost(agent.pid)
            with neighbours(
                kinds, seconds, seed, status=status, state_dir=state_dir, result=result
            ):
                attack(
                    agent.pid,
                    server,
                    group,
                    status=status,
                    until=time.monotonic() + seconds,
                    most=among,
                    random=random,
                    result=result,
                )
            time.sleep(calm)
            result.after = after_timers(agent.pid, result.before, server, group)
            began = time.monotonic()
            agent.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                agent.wait(30)
            result.stop_seconds = time.monotonic() - began
        finally:
            agent.kill()
            result.stop_status = agent.wait()
            log.seek(0)
            result.log = log.read().decode(errors="replace")
    return result


def after_timers(pid: int, before: Cost, server: EmbeddedBackend, group: sleepers.Sleepers) -> Cost:
    """Look at the agent, once threads of its that wait for a time are over: the log's sums.

    With the child that reads executables, which was there at the first look as well and ends when
    no new one comes.
    """
    until = time.monotonic() + TIMERS
    while True:
        wait_for_pids(server, {group.start(group.next_program())})
        after = cost(pid)
        if after.threads <= before.threads or time.monotonic() > until:
            return after
        time.sleep(5)


def attack(
    pid: int,
    server: EmbeddedBackend,
    group: sleepers.Sleepers,
    *,
    status: str,
    until: float,
    most: int,
    random: Random,
    result: Result,
) -> None:
    """Start ordinary processes and ask for health while the neighbours are at work."""
    started: dict[int, float] = {}
    next_health = 0.0
    while (now := time.monotonic()) < until:
        if now >= next_health:
            next_health = now + HEALTH_EVERY
            ask_health(status, result)
            result.samples.append(cost(pid))
        path = group.next_program()
        now = time.monotonic()
        started[group.start(path)] = now
        time.sleep(random.uniform(0.1, 0.5))
        if len(group.pids) > most:
            old = group.pids[0]
            if old in started:
                result.delays += delays(server, {old: started.pop(old)})
            group.end(old)
    result.delays += delays(server, started)


def delays(server: EmbeddedBackend, started: Mapping[int, float]) -> list[float]:
    """Return how many milliseconds after their starts processes were accepted."""
    seen = wait_for_pids(server, set(started))
    return [1000 * (seen[pid] - at) for pid, at in started.items()]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--log", action="store_true", help="Print what the agent logged.")
    asked = parser.parse_args()
    title = f"{asked.seconds:.0f} s among hostile neighbours"
    figures = Figures(title, as_json=asked.json)
    figures.start()
    result = run(asked.seconds, asked.seed, tuple(asked.kinds.split(",")))
    assert result.before is not None
    assert result.after is not None
    waits = spread(result.delays)
    figures.add("ordinary processes started", len(result.delays), "")
    figures.add("start to accepted, p50", waits["p50"], "ms")
    figures.limit("  p99", waits["p99"], "ms", 300)
    figures.add("  max", waits["max"], "ms")
    mb = 2**20
    figures.add("memory before", result.before.rss / mb, "MB")
    highest = max(sample.rss for sample in result.samples)
    figures.limit("  more at most", (highest - result.before.rss) / mb, "MB", 10)
    figures.add("  more afterwards", (result.after.rss - result.before.rss) / mb, "MB")
    figures.limit("CPU of a core", share(result.before, result.samples[-1]), "%", 5)
    figures.limit("threads more", result.after.threads - result.before.threads, "", 0)
    figures.limit("descriptors more", result.after.descriptors - result.before.descriptors, "", 0)
    figures.limit("processes more", result.after.processes - result.before.processes, "", 0)
    figures.add("questions for health", result.probes, "")
    figures.limit("  not answered with 200", len(result.unhealthy), "", 0)
    figures.limit("SIGTERM to the end", result.stop_seconds, "s", 5)
    figures.limit("exit status", abs(result.stop_status or 0), "", 0)
    for kind, said in result.neighbours.items():
        figures.add(f"neighbour {kind} gave up: {said}", 1, "")
    figures.end()
    for text in dict.fromkeys(result.unhealthy[:10]):
        print(text, file=sys.stderr)
    print(result.said, end="", file=sys.stderr)
    if asked.log:
        print(result.log, file=sys.stderr)


if __name__ == "__main__":
    main()
