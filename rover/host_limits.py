"""How many descriptors and tasks this host grants the agent; asked before anything begins.

gRPC's core aborts the process where it gets no thread, and a library that gets no descriptor fails
in its own way. So whoever starts them asks first, and is told which limit it is.
"""

from __future__ import annotations

import errno
import os
import resource
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rover.errors import RoverError

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES: Final = 64
"""Descriptors at most, measured 35 with the embedded backend on two processors, 10 of them per
processor; connections of the status server and watches of a cluster come on top."""
FILES_PER_CPU: Final = 4
"""A descriptor for each tracepoint and processor."""
TASKS: Final = 16
"""Besides gRPC's pool: main, discovery, reporter, gRPC's timer and its pool's keeper, and a child
that loads the programs; 4 for the embedded backend, 3 for a cluster's watches, 2 for status."""
POOL: Final = (4, 16)
"""Threads of gRPC's pool: one a processor, within these bounds."""
_CGROUPS: Final = "/sys/fs/cgroup"


def ensure_room(cgroups: str = _CGROUPS) -> None:
    """See that there is room for what an agent or a backend opens and starts.

    The soft limit of descriptors is raised where the hard one allows.

    Raises:
        RoverError: there is too little; the message names the limit and what is needed.
    """
    cpus = os.cpu_count() or 1
    _ensure_files(FILES + FILES_PER_CPU * cpus)
    tasks = TASKS + min(max(cpus, POOL[0]), POOL[1])
    if not _can_start(tasks - threading.active_count()):
        raise RoverError(
            f"needs room for {tasks} tasks (threads and processes): {_task_limit(tasks, cgroups)}"
        )


def exhausted(error: BaseException) -> str:
    """Say what an error that nobody foresaw means where it is about a limit; "" for any other."""
    if isinstance(error, OSError) and error.errno == errno.EMFILE:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return f"out of file descriptors: RLIMIT_NOFILE allows {soft}; raise `ulimit -n`"
    if isinstance(error, OSError) and error.errno == errno.ENFILE:
        return "the host is out of file descriptors: fs.file-max"
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return f"cannot start a thread: {_task_limit(1, _CGROUPS)}"
    return ""


def _ensure_files(needed: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard == resource.RLIM_INFINITY or hard >= needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
        return
    raise RoverError(
        f"needs {needed} file descriptors, and RLIMIT_NOFILE allows {hard}; raise LimitNOFILE= of "
        "the unit, or `ulimit -n`"
    )


def _can_start(threads: int) -> bool:
    """Start so many threads, let them end, and tell whether all could be had."""
    end = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(threads):
            thread = threading.Thread(target=end.wait, daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError:
        return False
    finally:
        end.set()
        for thread in started:
            thread.join()
    return True


def _task_limit(needed: int, cgroups: str) -> str:
    """Name the limit of tasks that is met, as far as it can be told, and how to raise it."""
    for folder in _pids_cgroups(cgroups):
        most, now = _number(folder / "pids.max"), _number(folder / "pids.current") or 0
        if most is not None and most - now < needed:
            return (
                f"{folder}/pids.max is {most}, of which {now} are in use; raise TasksMax= of the "
                "unit, or the kubelet's podPidsLimit"
            )
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if soft == resource.RLIM_INFINITY or not os.getuid():  # root is exempt
        space, _ = resource.getrlimit(resource.RLIMIT_AS)
        if space != resource.RLIM_INFINITY:  # each thread takes address space for its stack
            return f"RLIMIT_AS is {space} bytes; raise LimitAS= of the unit, or `ulimit -v`"
        return "the kernel starts no more; look at kernel.threads-max and kernel.pid_max"
    return (
        f"RLIMIT_NPROC is {soft} for all that uid {os.getuid()} runs; raise LimitNPROC= of the "
        "unit, or `ulimit -u`"
    )


def _pids_cgroups(cgroups: str) -> Iterator[Path]:
    """Give the cgroups that count this process's tasks, the innermost first."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in lines.splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            root = Path(cgroups)
        elif "pids" in controllers.split(","):
            root = Path(cgroups, "pids")
        else:
            continue
        inside = Path(path.lstrip("/"))
        yield from (root / each for each in (inside, *inside.parents))


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):  # not there, or "max"
        return None
