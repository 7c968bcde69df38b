"""Short processes at a steady rate, as long as asked: ``python -m bench.rig.churn RATE SECONDS``.

Prints how many were started. The rate is held by several of these side by side where one is too
slow: starting a process costs some 300 us here.
"""

from __future__ import annotations

import os
import sys
import time


def churn(rate: float, seconds: float, program: str = "/bin/true") -> int:
    """Start `program` so many times a second and wait for each; return how many were started."""
    began = time.monotonic()
    started = 0
    while (passed := time.monotonic() - began) < seconds:
        due = int(passed * rate) - started
        for _ in range(min(due, 64)):
            os.posix_spawn(program, [program], {})
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
    print(churn(float(sys.argv[1]), float(sys.argv[2])))
