"""A container runtime's own stage inside a new container: no program of anybody's yet.

A runtime starts a container by a process of its own, which enters the container's cgroup and
namespaces, waits there to be told to go on, and becomes the container's program by its next exec.
On a slow host, or between `create` and `start`, it lives long enough to be looked at.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rover.k8s.cgroup import containers_of

if TYPE_CHECKING:
    from rover.model import Process

RUNC: Final = frozenset({"runc:[1:CHILD]", "runc:[2:INIT]"})
RUNC_PROGRAM: Final = "runc"
RUNC_MEMORY: Final = "/memfd:runc_cloned"
MOUNTED_NOWHERE: Final = "/"
"""How the link to the executable reads where that is a mount of its own and has gone: both runtimes
run themselves from such a one where they may mount, for no container can write to it."""
RUNC_COMMAND: Final = re.compile(r"(?:\S*/)?runc init")
"""By its name alone as containerd starts it, by its path as Podman does."""
YOUKI: Final = frozenset({"youki:[1:INTER]", "youki:[2:INIT]"})
"""Names that these runtimes give their stages (prctl PR_SET_NAME)."""
CRUN: Final = "crun"
CRUN_MEMORY: Final = "/memfd:crun_cloned"
CRUN_COMMAND: Final = re.compile(r"(?:\S*/)?crun(?: .*)?", re.DOTALL)
LONGEST_S: Final = 300.0
"""Seconds after which a stage is a process like any other: nobody hides by a name for longer."""


def is_runtime_stage(process: Process, age: float) -> bool:
    """Tell whether a process is a runtime on its way to become a container's program.

    runc and youki name it; before it has that name runc's is told by its program. crun gives none:
    there it is what runs crun within a container's cgroup, or in a pid namespace of its own, which
    it gets before that. The crun that a person or a monitor started stands in neither.

    Args:
        process: it.
        age: seconds since it started.
    """
    if age > LONGEST_S:
        return False
    if process.name in YOUKI:
        return True
    if RUNC_COMMAND.fullmatch(process.command_line):
        return process.name in RUNC or _runs_runc(process)
    in_namespace = process.namespace_pid != process.pid
    return _runs_crun(process) and (in_namespace or bool(containers_of(process.cgroup)))


def _runs_runc(process: Process) -> bool:
    if process.exe == MOUNTED_NOWHERE:
        # it runs /proc/self/exe, or a descriptor
        return process.name == "exe" or process.name.isdigit()
    return process.exe_name == RUNC_PROGRAM or process.exe.startswith(RUNC_MEMORY)


def _runs_crun(process: Process) -> bool:
    if process.exe == MOUNTED_NOWHERE:
        return CRUN_COMMAND.fullmatch(process.command_line) is not None
    return process.exe_name == CRUN or process.exe.startswith(CRUN_MEMORY)
