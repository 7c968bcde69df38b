"""Run one kind of neighbour."""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import tempfile
import time
from pathlib import Path
from random import Random

from bench.neighbours.kinds import AS_ROOT, KINDS
from bench.neighbours.place import NOBODY, Place

PR_SET_PDEATHSIG = 1


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--status", default="", help="HOST:PORT of the agent's status address")
    parser.add_argument("--state-dir", default="", help="the agent's state directory")
    asked = parser.parse_args()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        if asked.kind not in AS_ROOT:
            os.chown(folder, NOBODY, NOBODY)
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        place = Place(
            Random(f"{asked.kind} {asked.seed}"),
            Path(folder),
            time.monotonic() + asked.seconds,
            asked.status,
            asked.state_dir,
        )
        # no exception, which could come in the middle of clearing up
        signal.signal(signal.SIGTERM, lambda *_: setattr(place, "until", 0.0))
        try:
            KINDS[asked.kind](place)
        finally:
            place.end_all()


if __name__ == "__main__":
    main()
