"""How others do it, to compare with in the same run: ``python -m bench.rig.baseline NAME``.

``polling`` reads all of /proc with psutil every 5 s; ``execsnoop`` is told every exec by BCC, bare
of all else. Each prints a line for what it sees: pid, time.monotonic(), name. They report nothing
and hold no table, so what they cost is the least that their way can cost.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

PERIOD: Final = 5.0
"""Seconds between two looks of the one that polls."""
FACTS: Final = ("pid", "ppid", "name", "exe", "cmdline", "cwd", "uids", "create_time")
SNOOP: Final = """
struct event { u32 pid; char comm[16]; };
BPF_RINGBUF_OUTPUT(events, 64);
TRACEPOINT_PROBE(sched, sched_process_exec)
{
    struct event event = {.pid = args->pid};
    bpf_get_current_comm(&event.comm, sizeof(event.comm));
    events.ringbuf_output(&event, sizeof(event), 0);
    return 0;
}
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """One process that came into sight."""

    pid: int
    at: float
    """time.monotonic()."""
    name: str


@dataclass(slots=True)
class Baseline:
    """One of them that runs."""

    pid: int
    _lines: IO[str]
    seen: list[Seen] = field(default_factory=list)
    """In order; complete when it has ended."""

    def times(self, prefix: str) -> dict[int, float]:
        """When each pid was first seen under a name that begins so, as time.monotonic()."""
        return {each.pid: each.at for each in reversed(self.seen) if each.name.startswith(prefix)}

    def read(self) -> None:
        """Take in what it has printed; of a line that is still being written nothing."""
        for line in self._lines.read().splitlines():
            pid, at, name = line.split(" ", 2)
            self.seen.append(Seen(int(pid), float(at), name))


@contextlib.contextmanager
def running(name: str) -> Iterator[Baseline]:
    """Run one until the end of the block; then it has told all that it saw."""
    with tempfile.NamedTemporaryFile("r", encoding="utf-8", errors="replace") as lines:
        command = [sys.executable, "-m", __name__, name]
        with Path(lines.name).open("w", encoding="utf-8") as sink:
            process = subprocess.Popen(command, stdout=sink)
        baseline = Baseline(process.pid, lines)
        try:
            yield baseline
        finally:
            process.terminate()
            process.wait(10)
            baseline.read()


def polling() -> None:
    """Read all of /proc every few seconds."""
    import psutil  # noqa: PLC0415  each of the two is to pay for its own packages alone

    known: set[tuple[int, float]] = set()
    while True:
        seen = set()
        for process in psutil.process_iter():
            try:
                facts = process.as_dict(FACTS)
            except psutil.Error:
                continue
            key = facts["pid"], facts["create_time"]
            seen.add(key)
            if key not in known:
                print(facts["pid"], time.monotonic(), facts["name"])
        known = seen
        time.sleep(PERIOD)


def execsnoop() -> None:
    """Be told every exec."""
    import ctypes  # noqa: PLC0415
    import os  # noqa: PLC0415

    import bcc  # noqa: PLC0415

    from rover.probes import programs, tracefs  # noqa: PLC0415

    tracefs.find(ctypes.CDLL(None, use_errno=True))
    os.environ["BCC_KERNEL_SOURCE"] = str(programs.source().parent / "shim")
    program = bcc.BPF(text=SNOOP)
    events = program["events"]

    def told(_context: object, data: object, _size: int) -> None:
        event = events.event(data)
        print(event.pid, time.monotonic(), event.comm.decode(errors="replace"))

    events.open_ring_buffer(told)
    # Looked for, not handled: what a handler raises is lost where it interrupts BCC's callback.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    while signal.SIGTERM not in signal.sigpending():
        program.ring_buffer_poll(1000)


WAYS: Final = {"polling": polling, "execsnoop": execsnoop}
NAMES: Final = {"polling": "polling with psutil", "execsnoop": "bare execsnoop"}
"""What the tables call them."""


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # what is printed is to come out
    WAYS[sys.argv[1]]()


if __name__ == "__main__":
    main()
