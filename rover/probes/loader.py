"""The short-lived child that compiles, loads and attaches, hands over and ends.

LLVM makes a process that has imported bcc 120 MB large. So the agent never imports it: this file
runs as a program of its own, in whichever Python has the distribution's bcc, with nothing but the
standard library beside it. What it loads stays attached as long as the agent holds the descriptors.

Usage: ``python -I loader.py SOCKET_FD REQUEST_JSON``. The answer goes through the socket as one
JSON object: ``{"maps": [...], "programs": {...}, ...}`` with the descriptors of the maps, then of
the programs, then of the attached tracepoints, in the order of their names; or
``{"error": ..., "advice": ...}``. Compiler messages go to standard error.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import resource
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, Final

MAPS: Final = ("pending", "tracked", "armed", "counters", "events")

TRACEPOINTS: Final = {
    "sched:sched_process_exec": ("on_exec", "ROVER_HAVE_EXEC"),
    "task:task_newtask": ("on_fork", "ROVER_HAVE_FORK"),
    "sched:sched_process_exit": ("on_exit", "ROVER_HAVE_EXIT"),
}

# where BCC itself looks for the tracepoints' formats
TRACEFS: Final = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))

# bits of include/uapi/linux/capability.h
CAP_SYS_ADMIN: Final = 21
CAP_SYS_RESOURCE: Final = 24
TRACING_CAPABILITIES: Final = {"PERFMON": 38, "BPF": 39}

# versions as LINUX_VERSION_CODE has them
RING_BUFFERS_SINCE: Final = 0x050800
MAPS_NO_LOCKED_MEMORY_SINCE: Final = 0x050B00

SYSTEM_CALLS: Final = {
    "x86_64": {"bpf": 321, "perf_event_open": 298},
    "aarch64": {"bpf": 280, "perf_event_open": 241},
}
BPF_PROG_LOAD: Final = 5
PARANOID: Final = Path("/proc/sys/kernel/perf_event_paranoid")
MAINLINE_PARANOID: Final = 2
"""Linux itself knows no higher level; from 3 or 4 on, distributions ask for CAP_SYS_ADMIN."""

PR_SET_PDEATHSIG: Final = 1
CLONE_NEWNS: Final = 0x00020000
MS_REC: Final = 0x4000
MS_PRIVATE: Final = 1 << 18


class LoadError(Exception):
    """Something that this host does not offer, with what to do about it."""

    def __init__(self, tried: str, advice: str) -> None:
        super().__init__(tried)
        self.advice = advice


def end_with_parent(libc: ctypes.CDLL) -> None:
    """Let the kernel end this child when the agent dies before it is done."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def find_tracefs(libc: ctypes.CDLL) -> tuple[Path, bool]:
    """Return where tracefs is, and whether it had to be mounted.

    A mount is made in a mount namespace of this child alone: the host's mount table stays as it
    was, and nothing is left when the child ends.
    """
    for place in TRACEFS:
        try:
            if (place / "events" / "sched").is_dir():
                return place, False
        except PermissionError as error:
            raise LoadError(
                f"cannot read tracefs at {place}: {error.strerror}",
                "run as root, or give the agent CAP_DAC_READ_SEARCH",
            ) from error
    place = TRACEFS[0]
    if not place.is_dir():
        raise LoadError(
            f"tracefs is not mounted and {place} does not exist",
            "the kernel was built without tracing (CONFIG_TRACING), or /sys is not mounted",
        )
    if (
        libc.unshare(CLONE_NEWNS)
        or not _keep_to_itself(libc)
        or libc.mount(b"tracefs", os.fsencode(place), b"tracefs", 0, None)
    ):
        reason = os.strerror(ctypes.get_errno())
        raise LoadError(
            f"tracefs is not mounted and cannot be mounted at {place}: {reason}",
            f"mount it on the host: mount -t tracefs tracefs {place}; a pod needs a volume with "
            f"hostPath: {{path: {place}}} at that mountPath",
        )
    return place, True


def _keep_to_itself(libc: ctypes.CDLL) -> bool:
    """Let no mount below /sys show in other namespaces; tell whether that is so.

    /sys is the mount that tracefs goes onto; below a root that is no mount point itself, as in a
    chroot, it is also the only one of the two that can be told.
    """
    return any(
        libc.mount(b"none", place, None, MS_REC | MS_PRIVATE, None) == 0
        for place in (b"/sys", b"/")
    )


def read_formats(tracefs: Path) -> tuple[list[str], list[str], bool]:
    """Return the tracepoints there are, those there are not, and whether exits say group_dead."""
    present, missing, group_dead = [], [], False
    for tracepoint in TRACEPOINTS:
        category, name = tracepoint.split(":")
        try:
            text = (tracefs / "events" / category / name / "format").read_text()
        except FileNotFoundError:
            missing.append(tracepoint)
            continue
        except PermissionError as error:
            raise LoadError(
                f"cannot read the format of {tracepoint}: {error.strerror}",
                "run as root, or give the agent CAP_DAC_READ_SEARCH",
            ) from error
        present.append(tracepoint)
        group_dead |= " group_dead;" in text
    if not present:
        raise LoadError(
            f"none of {', '.join(TRACEPOINTS)} exists in {tracefs}",
            "the kernel was built without these tracepoints",
        )
    return present, missing, group_dead


def version_code() -> int:
    """Return the running kernel's version as LINUX_VERSION_CODE has it."""
    numbers = [
        int("".join(c for c in part if c.isdigit()) or 0)
        for part in platform.release().split("-")[0].split(".")[:3]
    ]
    major, minor, patch = [*numbers, 0, 0, 0][:3]
    return (major << 16) + (minor << 8) + min(patch, 255)


def header_trees(request: dict[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """Return the header trees to try, each with the environment that leads BCC to it.

    The shim comes first, for it is the same on every host. The host's own are found by BCC: some
    distributions split them over two folders, which BCC_KERNEL_SOURCE cannot say.
    """
    trees = [("shim", {"BCC_KERNEL_SOURCE": str(Path(request["source"]).parent / "shim")})]
    if Path("/lib/modules", platform.release(), "build").is_dir():
        trees.append(("host", {}))
    return [tree for tree in trees if tree[0] == request.get("headers", tree[0])]


def compile_programs(request: dict[str, Any], defines: list[str]) -> tuple[Any, str]:
    """Compile with the first header tree that works; return the bcc module object and the tree."""
    try:
        import bcc  # noqa: PLC0415 - costs 70 MB and may not be there
    except ImportError as error:
        raise LoadError(
            f"{sys.executable} has no bcc: {error}",
            "install the distribution's package: apt-get install python3-bpfcc (never PyPI's bcc)",
        ) from error
    if not hasattr(bcc, "BPF"):
        raise LoadError(
            f"the bcc in {bcc.__file__} is not BPF Compiler Collection",
            "pip uninstall bcc, then apt-get install python3-bpfcc",
        )
    failures = []
    for name, environment in header_trees(request):
        os.environ.pop("BCC_KERNEL_SOURCE", None)
        os.environ.update(environment)
        try:
            return bcc.BPF(src_file=request["source"], cflags=defines), name
        except Exception as error:  # bcc raises nothing finer
            if own_missing_capabilities() or forbidden_calls():  # BCC makes maps as it compiles
                raise refusal(error) from error
            failures.append(f"{name} headers: {error}")
    raise LoadError(
        "the eBPF programs do not compile: " + "; ".join(failures),
        "the compiler's messages follow; this is a defect worth a report",
    )


def missing_capabilities(effective: int, kernel: int, memory_lockable: int) -> list[str]:
    """Return which capabilities a process lacks to load and attach.

    Args:
        effective: its capabilities, a bit each; CAP_SYS_ADMIN stands for both that tracing needs.
        kernel: version, as LINUX_VERSION_CODE.
        memory_lockable: bytes to which it may raise RLIMIT_MEMLOCK; -1 for any.
    """
    missing = [name for name, bit in TRACING_CAPABILITIES.items() if not effective >> bit & 1]
    if effective >> CAP_SYS_ADMIN & 1:
        missing = []
    locks = kernel < MAPS_NO_LOCKED_MEMORY_SINCE and memory_lockable != resource.RLIM_INFINITY
    if locks and not effective >> CAP_SYS_RESOURCE & 1:
        missing.append("SYS_RESOURCE")
    return missing


def own_missing_capabilities() -> list[str]:
    """Return what this process lacks."""
    status = Path("/proc/self/status").read_text()
    effective = int(status.partition("CapEff:")[2].split()[0], 16)
    return missing_capabilities(
        effective, version_code(), resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    )


def forbidden_calls() -> dict[str, int]:
    """Return the system calls that are refused whatever they are asked, with their errno.

    They are called with nothing to do, which is EINVAL or EFAULT to those who may call them.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    forbidden = {}
    for name, number in SYSTEM_CALLS.get(platform.machine(), {}).items():
        libc.syscall(number, BPF_PROG_LOAD if name == "bpf" else None, None, 0, 0, 0)
        if ctypes.get_errno() in (errno.EPERM, errno.EACCES, errno.ENOSYS):
            forbidden[name] = ctypes.get_errno()
    return forbidden


def policy(forbidden: dict[str, int], paranoid: int) -> str:
    """Say what forbids these system calls to a process that has the capabilities, and what to do.

    Args:
        forbidden: errno by name, not empty.
        paranoid: kernel.perf_event_paranoid.
    """
    if set(forbidden.items()) == {("perf_event_open", errno.EACCES)} and (
        paranoid > MAINLINE_PARANOID
    ):
        return (
            f"kernel.perf_event_paranoid is {paranoid}, for which this distribution's kernel asks "
            "for CAP_SYS_ADMIN: on the host, sysctl kernel.perf_event_paranoid=2; or in a pod add "
            "securityContext.capabilities.add: [SYS_ADMIN] and take allowPrivilegeEscalation out"
        )
    without = "; or the kernel has none" if errno.ENOSYS in forbidden.values() else ""
    return (
        f"the agent has the capabilities, so a seccomp profile or an LSM forbids "
        f"{' and '.join(f'{name}(2)' for name in forbidden)}: in a pod set "
        f"securityContext.seccompProfile: {{type: Unconfined}}{without}"
    )


def refusal(error: Exception) -> LoadError:
    """Explain why the kernel refused to load or attach."""
    try:
        lockdown = Path("/sys/kernel/security/lockdown").read_text()
    except OSError:
        lockdown = ""
    if "[confidentiality]" in lockdown:
        advice = "the kernel is locked down (confidentiality), which forbids tracing programs"
    elif version_code() < RING_BUFFERS_SINCE:
        advice = f"Linux 5.8 or later is needed, this is {platform.release()}"
    elif missing := own_missing_capabilities():
        advice = (
            f"missing {', '.join('CAP_' + name for name in missing)}: run as root, or in a pod add "
            f"securityContext.capabilities.add: [{', '.join(missing)}]"
        )
    elif forbidden := forbidden_calls():
        advice = policy(forbidden, int(PARANOID.read_text()) if PARANOID.exists() else 0)
    else:
        advice = "the kernel needs CONFIG_BPF_SYSCALL and CONFIG_BPF_EVENTS"
    return LoadError(f"the kernel refused the eBPF programs: {error}", advice)


def attach(
    module: Any,  # noqa: ANN401 - bcc has no types
    tracepoints: list[str],
) -> dict[str, tuple[int, int]]:
    """Load and attach one program a tracepoint; return program and tracepoint descriptors."""
    attached = {}
    for tracepoint in tracepoints:
        function = TRACEPOINTS[tracepoint][0]
        try:
            module.attach_tracepoint(tp=tracepoint, fn_name=function)
        except Exception as error:
            raise refusal(error) from error
        attached[tracepoint] = (
            module.funcs[function.encode()].fd,
            module.tracepoint_fds[tracepoint.encode()],
        )
    return attached


def map_descriptor(module: Any, name: str) -> int:  # noqa: ANN401 - bcc has no types
    """Return a map's descriptor without BCC's table classes, which guess at every type."""
    import bcc  # noqa: PLC0415 - as above

    descriptor: int = bcc.lib.bpf_table_fd(module.module, name.encode())
    if descriptor < 0:
        raise LoadError(f"BCC has not made the map {name}", "this is a defect worth a report")
    return descriptor


def load(request: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
    """Do the whole job; return the answer and the descriptors that go with it."""
    started = time.monotonic()
    libc = ctypes.CDLL(None, use_errno=True)
    end_with_parent(libc)
    tracefs, mounted = find_tracefs(libc)
    present, missing, group_dead = read_formats(tracefs)
    group_dead = group_dead and not request.get("without_group_dead")
    defines = [f"-I{Path(request['source']).parent}", f"-DROVER_KERNEL_VERSION={version_code()}"]
    defines += [f"-D{TRACEPOINTS[tracepoint][1]}" for tracepoint in present]
    defines += ["-DROVER_HAVE_GROUP_DEAD"] if group_dead else []
    defines += [f"-D{name}={value}" for name, value in request["sizes"].items()]
    module, headers = compile_programs(request, defines)
    maps = [map_descriptor(module, name) for name in MAPS]
    attached = attach(module, present)
    answer = {
        "maps": list(MAPS),
        "tracepoints": list(attached),
        "missing": missing,
        "group_dead": group_dead,
        "headers": headers,
        "tracefs": str(tracefs),
        "tracefs_mounted": mounted,
        "seconds": time.monotonic() - started,
    }
    programs, events = zip(*attached.values(), strict=True)
    return answer, [*maps, *programs, *events]


def main() -> None:
    """Answer the agent through the socket whose descriptor is the first argument."""
    with socket.socket(fileno=int(sys.argv[1])) as agent:
        try:
            answer, descriptors = load(json.loads(sys.argv[2]))
        except LoadError as error:
            agent.sendall(json.dumps({"error": str(error), "advice": error.advice}).encode())
            sys.exit(1)
        socket.send_fds(agent, [json.dumps(answer).encode()], descriptors)
    # BCC's clean-up at exit would switch the tracepoints off, for the agent too
    os._exit(0)


if __name__ == "__main__":
    main()
