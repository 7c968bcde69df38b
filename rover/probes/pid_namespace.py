"""Which processes the agent can know by a pid: those of its own pid namespace and those below it.

A process has a number in its own pid namespace and in each one around it (pid_namespaces(7)). /proc
shows the numbers of the namespace that it was mounted for, and the programs are compiled to give
those of the agent's.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from rover.errors import ProbeError

INITIAL: Final = 0xEFFFFFFC
"""Inode of the first pid namespace (PROC_PID_INIT_INO of the kernel's proc_ns.h)."""

BEYOND_SIGHT: Final = (
    "the agent runs in a pid namespace that is not the host's, so it sees no process outside of it"
)
WHEN_RIGHT: Final = (
    "right where the node is itself a container, as kind's and k3d's are; otherwise set "
    "`hostPID: true` in a pod, --pid=host for a container"
)
OTHER_PROC: Final = (
    "/proc shows the processes of another pid namespace than the agent's own, so the kernel's "
    "events would name pids that are others there"
)
MEND_PROC: Final = (
    "set `hostPID: true` in a pod, --pid=host for a container, or mount /proc in the agent's own "
    "namespace (unshare --mount-proc)"
)


def is_hosts() -> bool:
    """Tell whether the agent's pid namespace is the host's; False where /proc has no such process.

    For one that /proc was not mounted for, and none around it, that is so.
    """
    try:
        return Path("/proc/self/ns/pid").stat().st_ino == INITIAL
    except FileNotFoundError:
        return False


def own() -> int:
    """Return the inode of the agent's pid namespace; 0 where it is the host's.

    Raises:
        ProbeError: /proc was mounted for another pid namespace, so the kernel's events would speak
            of other pids than it shows.
    """
    try:
        inode = Path("/proc/self/ns/pid").stat().st_ino
        shows = shows_own_pids(Path("/proc/self/status").read_bytes(), os.getpid())
    except FileNotFoundError:  # in a namespace that this process is not in there is no self
        shows = False
    if not shows:
        raise ProbeError(f"{OTHER_PROC}; {MEND_PROC}")
    return 0 if inode == INITIAL else inode


def shows_own_pids(status: bytes, pid: int) -> bool:
    """Tell whether /proc is that of the agent's pid namespace.

    Args:
        status: /proc/self/status; its NSpid has the process's number in the namespace of /proc
            first, then in each below that, down to its own.
        pid: of this process, as it has it itself.
    """
    numbers = status.partition(b"\nNSpid:")[2].partition(b"\n")[0].split()
    # a kernel without pid namespaces tells none, and has one alone
    return not numbers or numbers == [b"%d" % pid]
