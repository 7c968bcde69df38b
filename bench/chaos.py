"""Faults and churn at random, then quiet: ``python -m bench.chaos [--seconds 1800] [--seed N]``.

The agent as its users run it, on the kernel's own events, against the embedded backend with its
faults on demand. Processes start, change their image and end all the while. Afterwards, within a
beat, the backend must hold exactly what runs, and the agent must be as large as before.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from bench.rig import agent, churn, sleepers
from bench.rig.backend import broken_rules, difference, wait_for_pids
from bench.rig.cost import Cost, cost
from bench.rig.figures import Figures
from bench.rig.options import options
from rover.backend import BackendOptions, EmbeddedBackend

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


BEAT = 2.0
GRACE = 1.0
"""Seconds beyond a beat: a call that was under way has its deadline to run into."""
LIVING = 120
SHARED = 4
"""Programs that are started more than once: of their processes the oldest is held."""
SHORT_RATE = 50
SAMPLE_PERIOD = 5.0
"""Seconds between two looks at what the agent uses."""
CODES = (
    "UNAVAILABLE",
    "DEADLINE_EXCEEDED",
    "RESOURCE_EXHAUSTED",
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "UNIMPLEMENTED",
    "INVALID_ARGUMENT",
    "UNKNOWN",
    "INTERNAL",
    "CANCELLED",
)
OPTIONS = (
    f"--set=process_discovery.heartbeat_period={BEAT}s",
    "--set=core.backend.timeout=1s",
    "--set=core.backend.check_period=1s",
    "--log-level=ERROR",
)


@dataclass
class Result:
    """What a run came to."""

    faults: Counter[str] = field(default_factory=Counter)
    started: int = 0
    ended: int = 0
    execs: int = 0
    calls: int = 0
    equal_after: float | None = None
    """Seconds from the last fault until the backend held what runs; None: never."""
    missing: tuple[str, ...] = ()
    """Where it never did: what it lacked or had too much."""
    broken: tuple[str, ...] = ()
    """Rules of the protocol that were broken."""
    samples: list[Cost] = field(default_factory=list)


class Host:
    """Processes that come, change and go; most are entities of their own, some share one."""

    def __init__(self, group: sleepers.Sleepers, seed: int, result: Result) -> None:
        self._group = group
        self._random = Random(f"processes {seed}")
        self._result = result
        self._shared = [group.next_program() for _ in range(SHARED)]
        self.living: dict[int, str] = {}
        """Name of the process by its pid."""
        self._changing: dict[int, tuple[subprocess.Popen[bytes], str]] = {}

    def churn(self) -> None:
        """Let some processes change, and a moment pass."""
        for _ in range(self._random.randrange(5)):
            self._change()
        time.sleep(self._random.uniform(0, 0.2))
        self._settle_execs()

    def _change(self) -> None:
        """Let one process start, end or become another program."""
        what = self._random.random()
        if what < 0.1 and self.living:
            self._exec()
        elif what < 0.55 and len(self.living) < LIVING:
            self.start()
        elif self.living:
            pid = self._random.choice(sorted(self.living))
            del self.living[pid]
            self._end(pid)
            self._result.ended += 1

    def start(self) -> int:
        """Start a process; return its pid."""
        path = self._program()
        pid = self._group.start(path)
        self.living[pid] = path.name
        self._result.started += 1
        return pid

    def _program(self) -> Path:
        if self._random.random() < 1 / 5:
            return self._random.choice(self._shared)
        return self._group.next_program()

    def _exec(self) -> None:
        """Start a shell that becomes another program once it has been reported as itself."""
        path = self._program()
        script = f"read line; exec {path} 3600"
        shell = subprocess.Popen(["/bin/sh", "-c", script], stdin=subprocess.PIPE)
        assert shell.stdin is not None
        self._changing[shell.pid] = (shell, path.name)

    def _settle_execs(self) -> None:
        """Let the shells of before become what they are to become."""
        for pid, (shell, name) in list(self._changing.items()):
            assert shell.stdin is not None
            shell.stdin.write(b"\n")
            shell.stdin.close()
            shell.returncode = 0  # waited for by its pid, like the others
            self.living[pid] = name
            self._result.execs += 1
        self._changing.clear()

    def _end(self, pid: int) -> None:
        if pid in self._group.pids:
            self._group.end(pid)
            return
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    def close(self) -> None:
        self._settle_execs()
        for pid in list(self.living):
            self._end(pid)


class Chaos:
    """One run; the same seed chooses the same faults, whatever the processes do."""

    def __init__(self, seed: int, server: EmbeddedBackend, pid: int, host: Host) -> None:
        self.random = Random(f"faults {seed}")
        self.server = server
        self.pid = pid
        self.host = host
        faults = server.faults
        pick = self.random
        self.kinds: dict[str, Callable[[], object]] = {
            "refuse": faults.refuse,
            "reset": lambda: faults.reset(connections=pick.randrange(3)),
            "black hole": faults.black_hole,
            "slow": lambda: faults.slow(pick.uniform(2_000, 50_000)),
            "delay": lambda: faults.delay(pick.uniform(0, 1.5)),
            "error": lambda: faults.error(pick.choice(CODES), rate=pick.uniform(0.1, 1)),
            "error, counted": lambda: faults.error(pick.choice(CODES), count=pick.randint(1, 3)),
            "answer lost": lambda: faults.error("UNAVAILABLE", stored=True, rate=0.5),
            "fewer": lambda: faults.fewer(pick.randint(1, 5), count=pick.randint(1, 3)),
            "ids dropped": lambda: faults.drop_ids(count=pick.randint(1, 3)),
            "ids wrong": lambda: faults.wrong_ids(count=pick.randint(1, 3)),
            "reordered": faults.reorder,
            "message limit": lambda: faults.limit_message_size(pick.randint(600, 5_000)),
            "token required": lambda: faults.require_token("another"),
            "restart": lambda: server.restart(downtime=pick.uniform(0, 1)),
            "restart, memory lost": lambda: server.restart(keep_memory=False),
        }

    def run(self, seconds: float, result: Result) -> None:
        """Do all of it."""
        end = time.monotonic() + seconds
        sample_at = fault_at = 0.0
        while (now := time.monotonic()) < end:
            if now >= sample_at:
                result.samples.append(cost(self.pid))
                sample_at = now + SAMPLE_PERIOD
            if now >= fault_at:
                self._next_fault(result)
                fault_at = now + self.random.uniform(0.2, 3.0)
            self.host.churn()
        self.server.faults.clear()
        self._wait_until_equal(result)
        result.samples.append(cost(self.pid))

    def _next_fault(self, result: Result) -> None:
        """End what is in force, and mostly put another fault in its place."""
        self.server.faults.clear()
        if self.random.random() < 0.75:
            name = self.random.choice(sorted(self.kinds))
            result.faults[name] += 1
            self.kinds[name]()

    def _wait_until_equal(self, result: Result) -> None:
        """Wait until the backend holds what runs."""
        quiet = time.monotonic()
        while time.monotonic() < quiet + 5 * BEAT and result.equal_after is None:
            if not (differing := difference(self.server, self.host.living, quiet, BEAT)):
                result.equal_after = time.monotonic() - quiet
            result.missing = differing
            time.sleep(0.02)
        held = self.server.state.snapshot()
        result.calls = held.calls_total
        result.broken = broken_rules(held.violations)


def chaos(seconds: float, seed: int) -> Result:
    """Run an agent through it."""
    result = Result()
    with (
        EmbeddedBackend(BackendOptions(seed=seed)) as server,
        agent.running(server, *OPTIONS) as pid,
        sleepers.running() as group,
        contextlib.closing(Host(group, seed, result)) as host,
        churn.running(SHORT_RATE, seconds),
    ):
        wait_for_pids(server, {host.start()})
        Chaos(seed, server, pid, host).run(seconds, result)
    return result


def leaks(samples: list[Cost]) -> dict[str, int]:
    """Tell how many threads and descriptors there are more at the end than there ever were early.

    gRPC keeps threads for later, and while a connection is made there are a few more.
    """
    early, last = samples[: max(1, len(samples) // 5)], samples[-1]
    return {
        name: getattr(last, name) - max(getattr(sample, name) for sample in early)
        for name in ("threads", "descriptors", "processes")
    }


def main() -> None:
    chosen = options(__doc__, seconds=1_800.0, seeded=True).parse_args()
    title = f"faults of the backend for {chosen.seconds:g} s, seed {chosen.seed}"
    figures = Figures(title, as_json=chosen.json)
    figures.start()
    result = chaos(chosen.seconds, chosen.seed)
    for name, count in sorted(result.faults.items()):
        figures.add(f"  fault: {name}", count, "")
    figures.add("long-lived processes started", result.started, "")
    figures.add("  ended, became another program", result.ended, f"{result.execs:,}")
    figures.add("calls that reached the backend", result.calls, "")
    equal = float("nan") if result.equal_after is None else result.equal_after
    figures.limit("last fault to the backend's state being the host's", equal, "s", BEAT + GRACE)
    figures.limit("rules of the protocol broken", len(result.broken), "", 0)
    figures.add_memory(result.samples)
    for name, more in leaks(result.samples).items():
        figures.limit(f"{name} more at the end", more, "", 0)
    figures.end()
    for line in (*result.missing, *result.broken):
        print(line, file=sys.stderr)
    sys.exit(bool(result.missing or result.broken))


if __name__ == "__main__":
    main()
