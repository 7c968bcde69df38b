"""A real node: ``python -m machines.node [--cache DIR] [--folder DIR] [ROW...]``, as root.

etcd, the API server, the controllers, the scheduler and the kubelet of Kubernetes, containerd and
runc of Debian, the image that deploy/Dockerfile makes and the objects of deploy/, in namespaces of
this host for mounts and network; below a cgroup of its own, and with nothing left of it after.
Runs a table of workloads and faults. A run of all, as by `make node`, writes its section of
docs/machines.md.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from machines.image import ROOT
from machines.node import components, images
from machines.node.place import remove_cgroup
from machines.node.table import Finding, replace_section

CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "rover-node"
RESULTS: Final = ROOT / "docs" / "machines.md"
PROGRAMS: Final = {
    **dict.fromkeys(("containerd", "ctr"), "containerd"),
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "/bin/busybox": "busybox-static",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "gcc": "gcc",
    "openssl": "openssl",
}
"""By the program: Debian's package. Go is the Go project's, for Debian's is too old."""
TIMEOUT: Final = 3600.0
"""Seconds for a run."""
SET_CHILD_SUBREAPER: Final = 36
"""PR_SET_CHILD_SUBREAPER of prctl(2)."""


def missing_tools() -> list[str]:
    """Return what this host lacks, as packages."""
    lacking = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
    return list(dict.fromkeys([*lacking, *(["go"] if not shutil.which("go") else [])]))


def main() -> None:
    """Run what is asked for; end with 1 where a row is not ok."""
    parser = argparse.ArgumentParser(prog="machines.node", description=__doc__)
    parser.add_argument("--cache", type=Path, default=CACHE, help="keeps what was built")
    parser.add_argument("--folder", type=Path, help="takes the programs' logs and the findings")
    parser.add_argument("rows", nargs="*", help="rows, blanks as _; all where none is named")
    asked = parser.parse_args()
    if missing := missing_tools():
        sys.exit(f"machines.node: needs {', '.join(missing)}: apt-get install them (Go: 1.26)")
    asked.cache.mkdir(parents=True, exist_ok=True)
    folder = asked.folder or asked.cache
    built = components.build(asked.cache)
    archives = [
        images.pause(built, asked.cache),
        images.programs(built, asked.cache),
        images.rover(asked.cache),
    ]
    findings = folder / "findings"
    findings.write_text("")
    began = time.monotonic()
    run(built, archives, findings, folder / "logs", asked.rows)
    found = [json.loads(line) for line in findings.read_text().splitlines()]
    rows = [Finding.of(each) for each in found if "row" in each]
    if not asked.rows and rows:
        RESULTS.write_text(replace_section(RESULTS.read_text(), rows, time.monotonic() - began))
    planned = {name for each in found for name in each.get("planned", ())}
    unseen = planned - {row.name for row in rows}
    wrong = [row.name for row in rows if not row.right]
    print(f"wrong: {wrong}; not come to: {sorted(unseen)}" if wrong or unseen else "all right")
    sys.exit(1 if wrong or unseen or not planned else 0)


def run(built: Path, archives: list[Path], findings: Path, logs: Path, rows: list[str]) -> None:
    """Run the node in its namespaces, and leave nothing of it.

    Args:
        built: the components' folder.
        archives: of the images.
        findings: takes what is found, a JSON object a line.
        logs: takes the programs' logs, in place of an earlier run's.
        rows: as `machines.node.inside` takes them.
    """
    # whatever the runtime leaves behind becomes a child of this process, which ends it
    ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("machines.node: told to end"))
    with tempfile.TemporaryDirectory(prefix="rover-node-", dir="/var/tmp") as name:
        options = [f"--archive={each}" for each in archives]
        command = [
            *("unshare", "--mount", "--propagation=private", "--net", "--uts"),
            *(sys.executable, "-m", "machines.node.inside", *options),
            *(name, str(built), str(findings), *rows),
        ]
        running = subprocess.Popen(command, cwd=ROOT)
        try:
            running.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            print(f"not within {TIMEOUT:g} s", flush=True)
        finally:
            end_all_children()
            shutil.rmtree(logs, ignore_errors=True)
            with contextlib.suppress(OSError):
                shutil.copytree(Path(name, "logs"), logs)
            remove_cgroup(f"/{Path(name).name}")


def end_all_children() -> None:
    """Kill and collect every child, the adopted ones included, until there is none."""
    while True:
        for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


if __name__ == "__main__":
    main()
