"""The short-lived child that compiles, loads and attaches, hands over and ends.

LLVM makes a process that has imported bcc 120 MB large. So the agent never imports it: this runs as
a program of its own, in whichever Python has the distribution's bcc, with the standard library and
the files of this folder that need nothing else. What it loads stays attached as long as the agent
holds the descriptors.

The programs are attached to raw tracepoints, which takes no right but to load them. Where that does
not work, they are attached to the same tracepoints by perf events.

What profiles is loaded by the same program under another request (rover/probes/profile_loader.py).

Arguments are ``SOCKET_FD REQUEST_JSON``. The answer goes through the socket as one JSON object:
``{"maps": [...], "tracepoints": [...], ...}`` with the descriptors of the maps, then of the
programs, then of the attachments, in the order of their names; or
``{"error": ..., "advice": ...}``. Compiler messages go to standard error.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rover.probes import btf, refusals, tracefs, trial, without_proc
from rover.probes.refusals import LoadError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAPS: Final = (
    *("pending", "overflow", "spilled", "tracked", "armed", "unsettled", "taken", "slices"),
    *("counters", "events"),
)

TRACEPOINTS: Final = {
    "sched:sched_process_exec": ("on_exec", "ROVER_HAVE_EXEC"),
    "task:task_newtask": ("on_fork", "ROVER_HAVE_FORK"),
    "sched:sched_process_exit": ("on_exit", "ROVER_HAVE_EXIT"),
}

OFFSETS: Final = {
    "ROVER_TASK_TGID": ("task_struct", "tgid"),
    "ROVER_TASK_SIGNAL": ("task_struct", "signal"),
    "ROVER_SIGNAL_LIVE": ("signal_struct", "live"),
}
"""What bpf/arguments.h wants to know of the kernel's structures."""

NAMESPACE_OFFSETS: Final = {
    "ROVER_TASK_LEADER": ("task_struct", "group_leader"),
    "ROVER_TASK_PID_STRUCT": ("task_struct", "thread_pid"),
    "ROVER_PID_LEVEL": ("pid", "level"),
    "ROVER_PID_NUMBERS": ("pid", "numbers"),
    "ROVER_UPID_NUMBER": ("upid", "nr"),
    "ROVER_UPID_NAMESPACE": ("upid", "ns"),
    "ROVER_UPID_BYTES": ("upid",),
    "ROVER_NAMESPACE_COMMON": ("pid_namespace", "ns"),
    "ROVER_COMMON_INODE": ("ns_common", "inum"),
}
"""What bpf/pid_namespace.h wants to know of them, where the agent's namespace is not the first."""

PR_SET_PDEATHSIG: Final = 1


class Loaded(NamedTuple):
    """Programs that are attached."""

    way: str
    headers: str
    maps: list[int]
    attached: dict[str, tuple[int, int]]
    """Program and attachment by tracepoint."""
    missing: list[str]
    """Tracepoints that this kernel does not have."""
    last_known: bool
    """Whether an exit says that it is the process's last."""
    detail: dict[str, Any]


def end_with_agent(libc: ctypes.CDLL, agent: socket.socket) -> None:
    """Let the kernel end this child when the agent dies before it is done; end if it has died."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    ended = select.poll()
    ended.register(agent, 0)  # POLLHUP alone: the other end is closed
    if ended.poll(0):
        os._exit(0)


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
            return _compiled(request["source"], defines), name
        except Exception as error:  # bcc raises nothing finer
            if refusals.own_missing_capabilities() or "bpf" in refusals.forbidden_calls():
                raise refusals.refusal(error) from error  # BCC makes maps as it compiles
            failures.append(f"{name} headers: {error}")
    raise LoadError(
        "the eBPF programs do not compile: " + "; ".join(failures),
        "the compiler's messages follow; this is a defect worth a report",
    )


def _compiled(source: str, defines: list[str]) -> Any:  # noqa: ANN401 - bcc has no types
    """Compile; where it cannot be done without /proc, with it, which takes twice as long."""
    import bcc  # noqa: PLC0415 - as above

    try:
        return without_proc.run(lambda: bcc.BPF(src_file=source, cflags=defines))
    except Exception:  # noqa: BLE001 - bcc raises nothing finer; what matters comes again
        return bcc.BPF(src_file=source, cflags=defines)


def definitions(request: dict[str, Any], tracepoints: list[str]) -> list[str]:
    """Return the compiler's flags that both ways of attaching have in common."""
    return [
        f"-I{Path(request['source']).parent}",
        f"-DROVER_KERNEL_VERSION={refusals.version_code()}",
        *(f"-D{TRACEPOINTS[tracepoint][1]}" for tracepoint in tracepoints),
        *(f"-D{name}={value}" for name, value in request["sizes"].items()),
    ]


def map_descriptor(module: Any, name: str) -> int:  # noqa: ANN401 - bcc has no types
    """Return a map's descriptor without BCC's table classes, which guess at every type."""
    import bcc  # noqa: PLC0415 - as above

    descriptor: int = bcc.lib.bpf_table_fd(module.module, name.encode())
    if descriptor < 0:
        raise LoadError(f"BCC has not made the map {name}", "this is a defect worth a report")
    return descriptor


def kernel_offsets(
    request: dict[str, Any], wanted: Mapping[str, tuple[str, ...]]
) -> dict[str, int]:
    """Return where fields of the kernel's structures lie, by the name that C has for each.

    Of a structure alone, its size. Where the agent is not in the initial pid namespace, there is
    with them what bpf/pid_namespace.h defines by.
    """
    namespace = {"ROVER_PID_NAMESPACE": inode} if (inode := request.get("pid_namespace")) else {}
    wanted = {**wanted, **NAMESPACE_OFFSETS} if namespace else wanted
    try:
        kernel = btf.read(Path(request.get("btf", btf.VMLINUX)))
        offsets = {
            name: kernel.offset(*place) if place[1:] else kernel.size(*place)
            for name, place in wanted.items()
        }
    except btf.BtfError as error:
        raise LoadError(
            f"no offsets of the kernel's structures: {error}",
            "a kernel built with CONFIG_DEBUG_INFO_BTF has them",
        ) from error
    return offsets | namespace | dict(request.get("offsets", {}))


def by_raw_tracepoints(request: dict[str, Any]) -> Loaded:
    """Attach to raw tracepoints, and try what was read of the kernel's structures."""
    offsets = kernel_offsets(request, OFFSETS)
    defines = ["-DROVER_RAW", *(f"-D{name}={value}" for name, value in offsets.items())]
    module, headers = compile_programs(request, definitions(request, list(TRACEPOINTS)) + defines)
    attached = {}
    for tracepoint, (function, _) in TRACEPOINTS.items():
        try:
            program = module.load_func(function, module.RAW_TRACEPOINT).fd
            attached[tracepoint] = program, _open_raw(program, tracepoint.partition(":")[2])
        except Exception as error:
            raise refusals.refusal(error) from error
    maps = [map_descriptor(module, name) for name in MAPS]
    by_name = dict(zip(MAPS, maps, strict=True))
    if wrong := trial.contradiction(by_name["pending"], by_name["tracked"]):
        _detach(attached)
        raise LoadError(
            f"offsets of the kernel's BTF ({offsets}) do not hold: {wrong}",
            "this is a defect worth a report, with the kernel's release",
        )
    return Loaded("raw tracepoints", headers, maps, attached, [], last_known=True, detail={})


def _detach(attached: dict[str, tuple[int, int]]) -> None:
    """Let go of programs that are not to be used; BCC keeps no raw attachment of its own."""
    for _, attachment in attached.values():
        os.close(attachment)


def _open_raw(program: int, name: str) -> int:
    """Attach a program to a raw tracepoint."""
    import bcc  # noqa: PLC0415 - costs 70 MB and may not be there

    descriptor: int = bcc.lib.bpf_attach_raw_tracepoint(program, name.encode())
    if descriptor < 0:
        number = ctypes.get_errno() or -descriptor
        raise OSError(number, f"raw tracepoint {name}: {os.strerror(number)}")
    return descriptor


def by_tracepoints(request: dict[str, Any]) -> Loaded:
    """Attach by perf events, to such tracepoints as the kernel describes."""
    if request.get("pid_namespace"):
        raise LoadError(
            "tracepoints' records have pids of the host, and the agent's pid namespace is another",
            "this takes raw tracepoints and BTF, or an agent in the host's pid namespace",
        )
    libc = ctypes.CDLL(None, use_errno=True)
    place, mounted = tracefs.find(libc)
    present, missing, group_dead = tracefs.read_formats(place, list(TRACEPOINTS))
    group_dead = group_dead and not request.get("without_group_dead")
    defines = definitions(request, present) + ["-DROVER_HAVE_GROUP_DEAD"] * group_dead
    module, headers = compile_programs(request, defines)
    attached = {}
    for tracepoint in present:
        function = TRACEPOINTS[tracepoint][0]
        try:
            module.attach_tracepoint(tp=tracepoint, fn_name=function)
        except Exception as error:
            raise refusals.refusal(error) from error
        attached[tracepoint] = (
            module.funcs[function.encode()].fd,
            module.tracepoint_fds[tracepoint.encode()],
        )
    maps = [map_descriptor(module, name) for name in MAPS]
    detail = {"tracefs": f"{place}{' (mounted for this)' * mounted}"}
    return Loaded("tracepoints", headers, maps, attached, missing, group_dead, detail)


WAYS: Final = {"raw tracepoints": by_raw_tracepoints, "tracepoints": by_tracepoints}
"""The better one first."""


def load(request: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
    """Do the whole job; return the answer and the descriptors that go with it."""
    started = time.monotonic()
    failures: list[LoadError] = []
    for way, attach in WAYS.items():
        if request.get("way", way) != way:
            continue
        try:
            loaded = attach(request)
        except LoadError as error:
            failures.append(error)
            if refusals.own_missing_capabilities() or "bpf" in refusals.forbidden_calls():
                break  # the other way takes the same, and more
            continue
        answer = {
            "way": loaded.way,
            "maps": list(MAPS),
            "tracepoints": list(loaded.attached),
            "missing": loaded.missing,
            "last_known": loaded.last_known,
            "headers": loaded.headers,
            "detail": loaded.detail,
            "not_better": "; ".join(f"{error}; {error.advice}" for error in failures),
            "seconds": time.monotonic() - started,
        }
        programs, attachments = zip(*loaded.attached.values(), strict=True)
        return answer, [*loaded.maps, *programs, *attachments]
    if len(failures) == 1:
        raise failures[0]
    raw, other = failures
    tried = f"by raw tracepoints: {raw}; {raw.advice}. By tracepoints: {other}"
    raise LoadError(tried, other.advice)


def main(load: Callable[[dict[str, Any]], tuple[dict[str, Any], list[int]]] = load) -> None:
    """Answer the agent through the socket whose descriptor is the first argument."""
    descriptor, request = sys.argv[-2:]
    with socket.socket(fileno=int(descriptor)) as agent:
        end_with_agent(ctypes.CDLL(None), agent)
        try:
            answer, descriptors = load(json.loads(request))
        except LoadError as error:
            agent.sendall(json.dumps({"error": str(error), "advice": error.advice}).encode())
            sys.exit(1)
        socket.send_fds(agent, [json.dumps(answer).encode()], descriptors)
    # BCC's clean-up at exit would switch the tracepoints off, for the agent too
    os._exit(0)
