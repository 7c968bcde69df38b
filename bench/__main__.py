"""All benches, one after the other: ``python -m bench [NAME]... [--json]``.

Each is a program of its own (``python -m bench.NAME``). Run them on an otherwise idle machine, as
root; together they take about half an hour. The soaks are not among them: they take as long as they
are told to (``bench.soak``, ``bench.chaos``, ``bench.outage``, ``bench.k8s_soak``).
"""

from __future__ import annotations

import subprocess
import sys

BENCHES = (
    "start",
    "latency",
    "footprint",
    "scale",
    "storm",
    "short",
    "kernel",
    "profile",
    "reading",
    "changes",
    "beat",
    "telling",
    "k8s_scale",
    "k8s_pod",
)


def main() -> int:
    options = [argument for argument in sys.argv[1:] if argument.startswith("-")]
    chosen = [argument for argument in sys.argv[1:] if not argument.startswith("-")] or BENCHES
    unknown = set(chosen) - set(BENCHES)
    if unknown:
        sys.exit(f"no bench {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    return max(
        subprocess.run([sys.executable, "-m", f"bench.{name}", *options], check=False).returncode
        for name in chosen
    )


if __name__ == "__main__":
    sys.exit(main())
