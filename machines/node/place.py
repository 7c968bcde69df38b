"""Where a node lives on a host that lends itself to it: addresses, folders, mounts, a cgroup."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NODE: Final = "node1"
ADDRESS: Final = "10.88.0.1"
"""Of the node, on the bridge of its pods; the backend and the API server listen there."""
HARDWARE_ADDRESS: Final = "0a:58:0a:58:00:01"
PODS: Final = "10.88.0.0/24"
SERVICES: Final = "10.96.0.0/16"
API_SERVICE: Final = "10.96.0.1"
"""What pods are told to reach the API server by. With kube-proxy that would be rewritten; here the
address is the node's own, and the API server listens on the service's port."""
HIERARCHIES: Final = Path("/sys/fs/cgroup")
HIDDEN: Final = ("/run", "/var/lib", "/var/log")
"""Folders of the host whose place the node's own take: its runtime writes there."""
TUNED: Final = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
                "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes")  # fmt: skip
"""Sysctls that a kubelet sets: it is given files in their place, and the host keeps its own."""


@dataclass(frozen=True, slots=True)
class Place:
    """One node's folders."""

    scratch: Path
    """Empty at first; everything the node writes is below it."""
    components: Path
    """The programs of `machines.node.components`."""

    @property
    def cgroup(self) -> str:
        """The host's cgroup below which the node's are; no other kubelet's."""
        return f"/{self.scratch.name}"

    @property
    def logs(self) -> Path:
        """Takes a log of each program."""
        return self.scratch / "logs"

    def file(self, name: str) -> Path:
        """Return where a file of the node's configuration stands."""
        return self.scratch / "etc" / name


def prepare(place: Place) -> None:
    """Set up the mounts, the network and the cgroup; takes own namespaces for the first two."""
    for name in ("etc", "logs", "sysctl", "manifests"):
        (place.scratch / name).mkdir()
    for number, path in enumerate(HIDDEN):
        own = place.scratch / f"hidden-{number}"
        own.mkdir()
        run("mount", "--bind", str(own), path)
    _make_cgroup(place.cgroup)
    for name in TUNED:
        sysctl = Path("/proc/sys", name)
        own = place.scratch / "sysctl" / sysctl.name
        own.write_text(sysctl.read_text())
        run("mount", "--bind", str(own), str(sysctl))
    run("mount", "--make-rshared", "/")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n")
    run("ip", "link", "set", "lo", "up")
    run("ip", "address", "add", f"{API_SERVICE}/32", "dev", "lo")
    # a bridge takes the address of a port otherwise, and another when that port goes
    run("ip", "link", "add", "cni0", "address", HARDWARE_ADDRESS, "type", "bridge")
    run("ip", "address", "add", f"{ADDRESS}/24", "dev", "cni0")
    run("ip", "link", "set", "cni0", "up")


def hierarchies() -> Iterator[Path]:
    """Yield the mount points of the host's cgroup hierarchies: one, or one a controller."""
    if (HIERARCHIES / "cgroup.procs").exists():
        yield HIERARCHIES
    else:
        yield from (each for each in HIERARCHIES.iterdir() if (each / "cgroup.procs").exists())


def _make_cgroup(name: str) -> None:
    for hierarchy in hierarchies():
        folder = hierarchy / name.lstrip("/")
        folder.mkdir()
        for inherited in ("cpuset.cpus", "cpuset.mems"):
            if (folder / inherited).exists() and hierarchy != HIERARCHIES:
                (folder / inherited).write_text((hierarchy / inherited).read_text())


def remove_cgroup(name: str) -> None:
    """Take away a cgroup with all below it; no process may be left in it."""
    for hierarchy in hierarchies():
        top = hierarchy / name.lstrip("/")
        for folder, _, _ in os.walk(top, topdown=False):
            Path(folder).rmdir()


def run(*command: str, stdin: str | None = None) -> str:
    """Run a command; return what it printed.

    Raises:
        RuntimeError: it ended otherwise than well; with what it said.
    """
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-600:]
        raise RuntimeError(f"{' '.join(command)}: {said}")
    return done.stdout
