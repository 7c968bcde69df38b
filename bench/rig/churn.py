"""Short processes at a steady rate: ``python -m bench.rig.churn RATE SECONDS [LIFE]``.

They end at once, or after LIFE seconds. Prints how many were started. A high rate takes two of
these programs side by side: starting a process costs one of them some 300 us.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

ALONE = 500
"""Processes a second that one program starts with ease; of more than that two start a half each."""
START_UP = 1.0
"""Seconds until the programs hold their rate."""


@dataclass(frozen=True, slots=True)
class Churn:
    """Programs that start short processes."""

    programs: tuple[subprocess.Popen[bytes], ...]

    def started(self) -> int:
        """Wait until their time is over; return how many processes there were."""
        return sum(int(program.communicate()[0]) for program in self.programs)


@contextlib.contextmanager
def running(rate: float, seconds: float, life: float = 0.0) -> Iterator[Churn]:
    """Start `rate` processes a second, for so many seconds or until the end of the block.

    Each lives for `life` seconds.
    """
    amount = 1 if rate <= ALONE else 2
    command = [sys.executable, "-m", __name__, str(rate / amount), str(seconds), str(life)]
    with contextlib.ExitStack() as stack:
        programs = []
        for _ in range(amount):
            program = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
            stack.callback(program.terminate)
            programs.append(program)
        time.sleep(START_UP)
        yield Churn(tuple(programs))


def churn(rate: float, seconds: float, life: float = 0.0) -> int:
    """Start so many processes a second and wait for each; return how many were started."""
    program = ["/bin/sleep", str(life)] if life else ["/bin/true"]
    began = time.monotonic()
    started = 0
    while (passed := time.monotonic() - began) < seconds:
        due = int(passed * rate) - started
        for _ in range(min(due, 64)):
            os.posix_spawn(program[0], program, {})
            started += 1
        reap()
        time.sleep(0.002)
    while reap(block=True):
        pass
    return started


def reap(*, block: bool = False) -> bool:
    """Collect children that ended; tell whether any are left."""
    try:
        while os.waitpid(-1, 0 if block else os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


if __name__ == "__main__":
    print(churn(*map(float, sys.argv[1:])))
