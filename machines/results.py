"""What the rows came to on each machine, kept from run to run, and the table made of it.

A run of all rows on all machines is an hour and more by emulation. So each run adds what it found
to a file, and the table shows the latest of each. What was found with other eBPF programs than the
present ones, or with another way of loading and reading them, is marked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from machines.image import MACHINES, ROOT, Machine

NAME: Final = "results.json"
PROGRAMS: Final = ("bpf/**/*.[ch]", "rover/probes/*.py")

HEAD: Final = """# The agent on the machines that people have

Made by `python -m machines` ({dates}): Debian's releases with Debian's kernels under QEMU
({accelerators}), as they are installed: systemd, cgroup v2, no sysctl changed. {note}

| machine | userland | kernel |
|---|---|---|
{machines}

| row | {names} |
|---|{dashes}
{rows}

"ok" stands for the row's claim in full; `machines/` has each. An empty cell was not
run there.{earlier}
The suite's kernel tests hold forks without exec, execs of threads and chains of them, leaders that
end at 0 to 150 ms (50 of 50), reused pids, full maps and rings; by raw tracepoints, by tracepoints
and by an older kernel's.

"Skipped": from Linux 7.0 on (its commit a46023d5616e) a process may be preempted within a raw
tracepoint's program. Until it goes on, the kernel runs that program for no other process on that
processor, but counts what it skips; the agent sees the count and compares its table with /proc a
second later. Programs attached by perf events are skipped in more places: while any other program,
or a call on a map, is under way on the processor. Real-time processes that start over others bring
it out.
"""
EARLIER: Final = "†"
OF_EARLIER: Final = (
    f"\n{EARLIER}: found with earlier programs, or before a change of what loads and reads them."
)
EMULATED: Final = "On emulation counts hold and times do not."


@dataclass(frozen=True, slots=True)
class Cell:
    """What one row came to on one machine."""

    machine: str
    row: str
    result: str
    kernel: str
    accelerator: str
    """kvm or tcg."""
    date: str
    programs: str
    """As `programs` gives it."""


def programs() -> str:
    """Return a hash of the eBPF programs and of what loads and reads them."""
    files = sorted(path for pattern in PROGRAMS for path in ROOT.glob(pattern))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()[:12]


def read(path: Path) -> list[Cell]:
    """Return what is kept; nothing where there is no file."""
    return [Cell(**each) for each in json.loads(path.read_text())] if path.exists() else []


def add(path: Path, cells: Iterable[Cell]) -> None:
    """Keep these, in the place of earlier ones of the same machine and row."""
    kept = {(each.machine, each.row): each for each in read(path)}
    kept |= {(each.machine, each.row): each for each in cells}
    building = path.with_suffix(".building")
    building.write_text(json.dumps([asdict(each) for each in kept.values()], indent=1))
    building.rename(path)


def table(cells: Sequence[Cell], order: Sequence[str]) -> str:
    """Return docs/machines.md of these.

    Args:
        cells: one for each machine and row at most.
        order: of the rows; others come first.
    """
    present = programs()
    found = {(each.machine, each.row): each for each in cells}
    rows = list(dict.fromkeys(each.row for each in cells if each.row not in order))
    rows += [row for row in order if any(each.row == row for each in cells)]
    machines = [each for each in MACHINES if any(cell.machine == each.name for cell in cells)]
    accelerators = sorted({each.accelerator for each in cells})
    return HEAD.format(
        dates=", ".join(sorted({each.date for each in cells})),
        accelerators=" and ".join("KVM" if each == "kvm" else "emulation" for each in accelerators),
        note=EMULATED if "tcg" in accelerators else "",
        earlier=OF_EARLIER if any(each.programs != present for each in cells) else "",
        machines="\n".join(_machine(each, cells) for each in machines),
        names=" | ".join(each.name for each in machines),
        dashes="---|" * len(machines),
        rows="\n".join(
            f"| {row} | "
            + " | ".join(_shown(found.get((each.name, row)), present) for each in machines)
            + " |"
            for row in rows
        ),
    )


def _machine(machine: Machine, cells: Iterable[Cell]) -> str:
    kernels = {cell.kernel for cell in cells if cell.machine == machine.name}
    kernel = ", ".join(sorted(kernels - {""})) or "did not come up"
    return f"| {machine.name} | Debian's {machine.release} | {kernel} {machine.boot}|"


def _shown(cell: Cell | None, present: str) -> str:
    if cell is None:
        return ""
    mark = "" if cell.programs == present else f" {EARLIER}"
    return cell.result.replace("|", "/").replace("\n", " ") + mark
