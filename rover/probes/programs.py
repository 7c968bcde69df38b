"""Run the loader child and take over what it attached."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rover.errors import ProbeError
from rover.probes import layout, pid_namespace

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("rover.probes")

LOADER: Final = """
import sys
sys.path.append(sys.argv[1])
from rover.probes import loader, {module}
loader.main({module}.load)
"""
"""The child, in a Python that may know nothing of this package; its own libraries come first."""
DISTRIBUTION_PYTHON: Final = "/usr/bin/python3"
MESSAGES_KEPT: Final = 4_096
"""Characters of the compiler's messages that go into an error."""
ANSWER_BYTES: Final = 65_536
DESCRIPTORS: Final = 32
LOOK_UP: Final = 0.2
"""Seconds between two looks whether the programs are still wanted."""


class Way(StrEnum):
    """How programs are attached, the better one first."""

    RAW = "raw tracepoints"
    TRACEPOINTS = "tracepoints"


@dataclass(frozen=True, slots=True)
class Programs:
    """Attached programs; they stay so while the descriptors are open."""

    way: Way
    not_better: str
    """Why not by the better way; empty where this is it."""
    maps: dict[str, int]
    programs: dict[str, int]
    """Descriptor of each tracepoint's program, for the kernel's run-time statistics."""
    events: tuple[int, ...]
    missing: tuple[str, ...]
    """Tracepoints that this kernel does not have."""
    last_known: bool
    """Whether an exit says that it is the process's last."""
    headers: str
    """Which header tree the programs were compiled with: shim or host."""
    of_host: bool
    """Whether they name processes of the whole host, and not of the agent's pid namespace alone."""

    def close(self) -> None:
        """Detach, and free the maps."""
        for descriptor in (*self.events, *self.programs.values(), *self.maps.values()):
            os.close(descriptor)


def source(name: str = "process.c") -> Path:
    """Return a C program: beside this package in a checkout, inside it in a wheel."""
    package = Path(__file__).parents[1]
    for place in (package / "_bpf", package.parent / "bpf"):
        if (place / name).is_file():
            return place / name
    raise ProbeError(f"the eBPF programs are missing from {package}; install the package again")


def interpreter() -> str:
    """Return a Python that has the distribution's bcc, without importing it here.

    The agent may run in a Python that the distribution's package was not built for.
    """
    spec = importlib.util.find_spec("bcc")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if Path(place, "libbcc.py").is_file():
            return sys.executable
    return DISTRIBUTION_PYTHON


def load(
    *,
    timeout: float = 60.0,
    given_up: Callable[[], bool] = lambda: False,
    **request: Any,  # noqa: ANN401 - JSON
) -> Programs:
    """Compile, load and attach in a child; return when it is done, 0.4 s on an idle host.

    Args:
        timeout: seconds after which the child is ended.
        given_up: asked several times a second; where it says so, the child is ended at once.
        request: what the loader's request may hold beside the sizes, for tests.

    Raises:
        ProbeError: eBPF does not work here; the message says what was tried and what to do. Or it
            was given up.
    """
    inode = pid_namespace.own()
    request = {
        "source": str(source()),
        "pid_namespace": inode,
        "sizes": {
            "ROVER_PENDING_ENTRIES": layout.PENDING_ENTRIES,
            "ROVER_OVERFLOW_ENTRIES": layout.OVERFLOW_ENTRIES,
            "ROVER_TRACKED_ENTRIES": layout.TRACKED_ENTRIES,
            "ROVER_RING_PAGES": layout.RING_PAGES,
        },
        **request,
    }
    answer, descriptors = run_loader("loader", request, timeout, given_up)
    maps = dict(zip(answer["maps"], descriptors, strict=False))
    rest = descriptors[len(maps) :]
    attached = answer["tracepoints"]
    log.info(
        "probes attached by=%s tracepoints=%s missing=%s headers=%s%s seconds=%.2f",
        answer["way"].replace(" ", "_"),
        ",".join(attached),
        ",".join(answer["missing"]) or "none",
        answer["headers"],
        "".join(f" {name}={value}" for name, value in answer["detail"].items()),
        answer["seconds"],
    )
    if answer["not_better"]:
        log.warning("probes attached by tracepoints, not raw ones: %s", answer["not_better"])
    if inode:
        log.warning("%s: %s", pid_namespace.BEYOND_SIGHT, pid_namespace.WHEN_RIGHT)
    return Programs(
        way=Way(answer["way"]),
        not_better=answer["not_better"],
        maps=maps,
        programs=dict(zip(attached, rest, strict=False)),
        events=tuple(rest[len(attached) :]),
        missing=tuple(answer["missing"]),
        last_known=answer["last_known"],
        headers=answer["headers"],
        of_host=not inode,
    )


def run_loader(
    module: str, request: dict[str, Any], timeout: float, given_up: Callable[[], bool]
) -> tuple[dict[str, Any], list[int]]:
    """Have a child load what a request asks for; return its answer and the descriptors with it.

    Args:
        module: of this package, whose `load` the child calls.
        request: JSON.
        timeout: as in `load`.
        given_up: as in `load`.

    Raises:
        ProbeError: as in `load`.
    """
    answer, descriptors, messages = _run_child(module, request, timeout, given_up)
    if "error" in answer:
        for descriptor in descriptors:
            os.close(descriptor)
        said = f"\n{messages}" if messages else ""
        raise ProbeError(f"{answer['error']}; {answer['advice']}{said}")
    return answer, descriptors


def _run_child(
    module: str, request: dict[str, Any], timeout: float, given_up: Callable[[], bool]
) -> tuple[dict[str, Any], list[int], str]:
    """Return the child's answer, the descriptors that came with it and what it printed."""
    python = interpreter()
    ours, theirs = socket.socketpair()
    printed = os.memfd_create("rover-loader")
    try:
        with ours, theirs:
            child = subprocess.Popen(
                [
                    *(
                        python,
                        "-I",
                        "-c",
                        LOADER.format(module=module),
                        str(Path(__file__).parents[2]),
                    ),
                    *(str(theirs.fileno()), json.dumps(request)),
                ],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
                env={"PATH": os.defpath, "LANG": "C.UTF-8"},
                # Ctrl-C is the parent's to hear: it ends the child itself
                process_group=0,
            )
            theirs.close()
            received = _receive(ours, time.monotonic() + timeout, given_up)
            if received is None:
                child.kill()
            answer, descriptors = received or (b"", [])
            status = child.wait()
        messages = os.pread(printed, MESSAGES_KEPT, 0).decode(errors="replace").strip()
    except OSError as error:
        raise ProbeError(f"cannot run the eBPF loader with {python}: {error}") from error
    finally:
        os.close(printed)
    if answer:
        return json.loads(answer), descriptors, messages
    how = (
        f"was killed after {timeout:g} s"
        if status == -signal.SIGKILL
        else f"ended with status {status}"
    )
    if given_up():
        raise ProbeError("loading the eBPF programs was given up, for the agent is to end")
    return (
        {
            "error": f"the eBPF loader ({python}) {how} without an answer",
            "advice": "what it printed follows",
        },
        descriptors,
        messages,
    )


def _receive(
    child: socket.socket, until: float, given_up: Callable[[], bool]
) -> tuple[bytes, list[int]] | None:
    """Wait for the answer, empty where the child has ended, and its descriptors.

    Returns:
        None where it came too late or is no longer wanted.
    """
    while (left := until - time.monotonic()) > 0 and not given_up():
        child.settimeout(min(left, LOOK_UP))
        try:
            answer, descriptors, _, _ = socket.recv_fds(
                child, ANSWER_BYTES, DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
            )
        except TimeoutError:
            continue
        return answer, descriptors
    return None
