"""The host around the agent: /proc, cgroups, the state directory, other agents, limits, clock."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from rover.capabilities import hidepid, own_capabilities
from rover.doctor.checks import Check, fail, ok, warn
from rover.doctor.rights import RIGHTS
from rover.errors import RoverError
from rover.host_limits import ensure_room
from rover.identity import LOCK_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator

STATE: Final = "state directory"
NEEDED_BYTES: Final = 8_192
"""Written as a trial; the agent's own files are smaller."""
OTHER_AGENTS: Final = ("skywalking-rover", "rover-linux-amd64", "rover-linux-arm64")
TIME_ERROR: Final = 5
"""adjtimex(2): the clock is not synchronised."""
TIMEX_BYTES: Final = 256
"""More than struct timex has on any architecture."""


def checks(state_dir: Path) -> Iterator[Check]:
    """Look at all of them, writing a trial file into the state directory."""
    yield _processes()
    yield _cgroups()
    yield state_directory(state_dir)
    yield _others(_holder(state_dir))
    yield _limits()
    yield _clock()


def _processes() -> Check:
    mounts = Path("/proc/self/mountinfo").read_text(errors="replace")
    effective = own_capabilities()
    if option := hidepid(mounts, effective):
        return fail(
            "/proc",
            f"mounted with {option}: processes of other users are not even seen",
            "CAP_SYS_PTRACE, or the group that the mount's gid= names",
        )
    try:
        Path("/proc/1/exe").readlink()
    except PermissionError:
        return warn(
            "/proc",
            "executables of other users' processes cannot be read",
            "CAP_SYS_PTRACE; where it is there, a policy of the host forbids it",
            RIGHTS,
        )
    except OSError:
        pass
    return ok("/proc", f"{len(psutil.pids())} processes are seen")


def _cgroups() -> Check:
    own = Path("/proc/self/cgroup").read_text(errors="replace").splitlines()
    unified = any(line.startswith("0::") for line in own)
    others = [line for line in own if not line.startswith("0::")]
    if not own:
        return warn("cgroups", "none are told", "mount cgroups; containers are not told apart")
    version = "v1 and v2" if unified and others else "v2" if unified else "v1"
    return ok("cgroups", version)


def state_directory(path: Path) -> Check:
    """Look whether the agent can keep its id and its socket there."""
    try:
        found = path.stat()
    except FileNotFoundError:
        above = next(each for each in path.absolute().parents if each.exists())
        if os.access(above, os.W_OK | os.X_OK):
            return ok(STATE, f"{path} will be made at the first start")
        return _unusable(path, f"{above} may not be written")
    except OSError as error:
        return _unusable(path, str(error.strerror))
    return _written(path, found.st_mode)


def _written(path: Path, mode: int) -> Check:
    """Try to write."""
    if not stat.S_ISDIR(mode):
        return fail(STATE, f"{path} is no directory", "name another with --state-dir")
    try:
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(b"\0" * NEEDED_BYTES)
            file.flush()
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return fail(
                STATE, f"{path} is full: {error.strerror}", "make room, or name another directory"
            )
        return _unusable(path, str(error.strerror))
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        return warn(
            STATE,
            f"{path} can be written by others, so there is no socket in it",
            f"chmod go-w {path}",
        )
    holder = _holder(path)
    held = f", held by the agent of pid {holder}" if holder else ""
    return ok(STATE, f"{path}{held}")


def _unusable(path: Path, why: str) -> Check:
    return warn(
        STATE,
        f"{path} cannot be written ({why}): the id is derived anew at each start, and there is no "
        "socket",
        "run it as the agent's user, or name a directory that it may write with --state-dir",
        RIGHTS,
    )


def _holder(path: Path) -> int:
    """Return the pid of the agent that holds a state directory, 0 where none does."""
    try:
        descriptor = os.open(path / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return 0
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.read(descriptor, 20).decode(errors="replace").strip()
        return int(text) if text.isdecimal() else -1
    finally:
        os.close(descriptor)
    return 0


def _others(holder: int) -> Check:
    found = [
        f"pid {process.pid} ({process.info['name']})"
        for process in psutil.process_iter(["name", "cmdline"])
        if process.pid != holder and _is_agent(process.info["name"], process.info["cmdline"])
    ]
    if found:
        return warn(
            "other agents",
            f"{', '.join(found[:5])} seem to report this host's processes as well",
            "one agent a host: stop the others, or each process is reported twice",
        )
    return ok("other agents", "none are seen")


def _is_agent(name: str | None, arguments: list[str] | None) -> bool:
    if name in OTHER_AGENTS:
        return True
    words = [word for word in arguments or [] if not Path(word).name.startswith("python")]
    return bool(words) and Path(words[0]).name == "rover" and "start" in words[1:4]


def _limits() -> Check:
    try:
        ensure_room()
    except RoverError as error:
        says, _, mend = str(error).rpartition("; ")
        return fail("limits", says or str(error), mend)
    return ok("limits", "room for descriptors and tasks")


def _clock() -> Check:
    libc = ctypes.CDLL(None, use_errno=True)
    state = libc.adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
    if state == TIME_ERROR:
        return warn(
            "clock",
            "the kernel says that it is not synchronised; the backend dates beats by its own",
            "chronyd, systemd-timesyncd or ntpd; in a virtual machine the host's clock may do",
        )
    return ok("clock", "synchronised" if state >= 0 else "its state is not told")
