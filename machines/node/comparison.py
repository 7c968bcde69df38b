"""What the backend has of each workload, against what it must have."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from machines.node.word import Named, Word
from machines.node.workloads import Expected, Workload
from rover.backend import StoredProcess
from rover.profiling.usage import start_ticks

LAYER: Final = "K8S_SERVICE"
LABELS: Final = ("k8s-service",)
RUNTIMES_OWN: Final = re.compile(r"runc|crun|conmon|pause|containerd-shim")
CONTAINER_ID: Final = re.compile(r"[0-9a-f]{64}")
TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Delay:
    """How long the first report of a process took; None where it cannot be told."""

    from_start: float | None
    """Seconds since the process started; it must live when it is asked."""
    from_word: float | None
    """Seconds since the API had said what names it and the process was there."""


def rows_of(rows: Iterable[StoredProcess], namespace: str) -> list[StoredProcess]:
    """Return the rows of a namespace's services."""
    return [row for row in rows if row.entity.service.endswith(f".{namespace}")]


def compare(workload: Workload, rows: Iterable[StoredProcess]) -> tuple[list[str], list[str]]:
    """Return what is missing and what is too much, each once for every process."""
    left = rows_of(rows, workload.namespace)
    missing = []
    for expected in workload.expected:
        fit = next((row for row in left if fits(row, expected, workload.namespace)), None)
        if fit:
            left.remove(fit)
        else:
            missing.append(f"{expected.process} of {expected.instance}")
    return missing, [shown(row) for row in left]


def fits(row: StoredProcess, expected: Expected, namespace: str) -> bool:
    """Tell whether a row is what is expected, layer, labels and visibility included."""
    entity = row.entity
    return (
        row.visible
        and row.kind == "KUBERNETES"
        and (entity.layer, entity.labels) == (LAYER, LABELS)
        and entity.service == f"{expected.service}.{namespace}"
        and entity.process == expected.process
        and re.fullmatch(expected.instance, entity.instance) is not None
    )


def shown(row: StoredProcess) -> str:
    """Return a row in words."""
    entity = row.entity
    return f"{entity.process} of {entity.instance} ({entity.service})"


def of_the_runtime(rows: Iterable[StoredProcess]) -> list[str]:
    """Return the rows that are no program of a user's."""
    return [shown(row) for row in rows if RUNTIMES_OWN.match(row.entity.process)]


def delay(row: StoredProcess, word: Word) -> Delay:
    """Return how long the first report took; the process is looked at, so it must live yet."""
    assert row.pid
    try:
        started = start_ticks(row.pid) / TICKS
        cgroup = Path(f"/proc/{row.pid}/cgroup").read_text()
    except (OSError, ValueError, IndexError):
        return Delay(None, None)
    ids = CONTAINER_ID.findall(cgroup)
    said = word.since(Named(ids[-1], row.entity.service)) if ids else None
    first = (row.pid_since or row.first_seen).monotonic
    return Delay(first - started, first - max(said, started) if said else None)


def slowest(delays: Iterable[Delay]) -> Delay:
    """Return the longest of each kind."""
    listed = list(delays)
    starts = [each.from_start for each in listed if each.from_start is not None]
    words = [each.from_word for each in listed if each.from_word is not None]
    return Delay(max(starts, default=None), max(words, default=None))
