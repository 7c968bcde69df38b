"""Run the loader child and take over what it attached."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rover.errors import ProbeError
from rover.probes import layout, pid_namespace
from rover.probes.loading import Loading

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("rover.probes")


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


def begin(**request: Any) -> Loading:  # noqa: ANN401 - JSON
    """Have a child compile, load and attach; `load` waits for it.

    Args:
        request: what the loader's request may hold beside the sizes, for tests.

    Raises:
        ProbeError: eBPF does not work here.
    """
    whole = {
        "source": str(source()),
        "pid_namespace": pid_namespace.own(),
        "sizes": {
            "ROVER_PENDING_ENTRIES": layout.PENDING_ENTRIES,
            "ROVER_OVERFLOW_ENTRIES": layout.OVERFLOW_ENTRIES,
            "ROVER_TRACKED_ENTRIES": layout.TRACKED_ENTRIES,
            "ROVER_RING_PAGES": layout.RING_PAGES,
        },
        **request,
    }
    return Loading("loader", whole)


def load(
    *,
    timeout: float = 60.0,
    given_up: Callable[[], bool] = lambda: False,
    loading: Loading | None = None,
    **request: Any,  # noqa: ANN401 - JSON
) -> Programs:
    """Compile, load and attach in a child; return when it is done, 0.4 s on an idle host.

    Args:
        timeout: seconds after which the child is ended.
        given_up: asked several times a second; where it says so, the child is ended at once.
        loading: a child that is at it; one is started where there is none.
        request: as for `begin`.

    Raises:
        ProbeError: eBPF does not work here; the message says what was tried and what to do. Or it
            was given up.
    """
    answer, descriptors = (loading or begin(**request)).answer(timeout, given_up)
    maps = dict(zip(answer["maps"], descriptors, strict=False))
    rest = descriptors[len(maps) :]
    attached = answer["tracepoints"]
    inode = pid_namespace.own()
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
