"""The matrix of machines: ``python -m machines [--only NAME]... [ROW...]``, as root.

Boots Debian's releases with Debian's kernels under QEMU and runs each row in each. A run of all
rows on all machines, as by `make machines`, writes docs/machines.md. By KVM where it boots a stock
kernel, by emulation else: there counts hold and times do not.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from machines import guest, image
from machines.node.table import section_of

RESULTS: Final = image.ROOT / "docs" / "machines.md"
TIMEOUTS: Final = {"kvm": 900.0, "tcg": 3600.0}
"""Seconds for one machine."""

HEAD: Final = """# The agent on the machines that people have

Made by `make machines` ({date}): Debian's releases with Debian's kernels under QEMU
({accelerator}), as they are installed: systemd, cgroup v2, no sysctl changed. {note}

| machine | userland | kernel |
|---|---|---|
{machines}

| row | {names} |
|---|{dashes}
{rows}

"ok" stands for the row's claim in full; `machines/` has each. The suite's kernel tests hold forks
without exec, execs of threads and chains of them, leaders that end at 0 to 150 ms (50 of 50),
reused pids, full maps and rings; by raw tracepoints, by tracepoints and by an older kernel's.
"""
EMULATED: Final = "On emulation counts hold and times do not."


def table(outcomes: Sequence[guest.Outcome], accelerator: str) -> str:
    """Return docs/machines.md."""
    rows = list(dict.fromkeys(row for outcome in outcomes for row in outcome.rows))
    return HEAD.format(
        date=time.strftime("%Y-%m-%d"),
        accelerator="KVM" if accelerator == "kvm" else "emulation",
        note="" if accelerator == "kvm" else EMULATED,
        machines="\n".join(
            f"| {each.machine.name} | Debian's {each.machine.release} | "
            f"{each.kernel or 'did not come up'} {each.machine.boot}|"
            for each in outcomes
        ),
        names=" | ".join(each.machine.name for each in outcomes),
        dashes="---|" * len(outcomes),
        rows="\n".join(
            f"| {row} | " + " | ".join(_cell(each.rows.get(row, "")) for each in outcomes) + " |"
            for row in rows
        ),
    )


def _cell(result: str) -> str:
    return result.replace("|", "/").replace("\n", " ")


def main() -> None:
    """Run what is asked for; end with 1 where a row of any machine is not ok."""
    parser = argparse.ArgumentParser(prog="machines", description=__doc__)
    names = [each.name for each in image.MACHINES]
    parser.add_argument("--only", action="append", choices=names, help="a machine; may be repeated")
    parser.add_argument("--folder", type=Path, default=image.CACHE, help="takes the consoles")
    parser.add_argument("rows", nargs="*", help="rows, blanks as _; all where none is named")
    asked = parser.parse_args()
    if missing := image.missing_tools():
        sys.exit(f"machines: needs {', '.join(missing)}: apt-get install --no-install-recommends "
                 "mmdebstrap e2fsprogs qemu-system-x86")  # fmt: skip
    asked.folder.mkdir(parents=True, exist_ok=True)
    accelerator, outcomes = "", []
    for machine in image.MACHINES:
        if asked.only and machine.name not in asked.only:
            continue
        built = image.build(machine)
        accelerator = accelerator or ("kvm" if guest.kvm_works(built) else "tcg")
        outcome = guest.run(
            machine,
            built,
            asked.rows,
            accelerator=accelerator,
            timeout=TIMEOUTS[accelerator],
            folder=asked.folder,
        )
        outcomes.append(outcome)
        print(f"{machine.name} kernel={outcome.kernel} seconds={outcome.seconds:.0f}", flush=True)
        for row, result in outcome.rows.items():
            print(f"  {row}: {result}", flush=True)
    if not asked.only and not asked.rows:
        node = section_of(RESULTS.read_text())  # of `make node`, which has its own time
        RESULTS.write_text(f"{table(outcomes, accelerator)}\n{node}".rstrip() + "\n")
    wrong = [row for each in outcomes for row, said in each.rows.items() if said[:2] != "ok"]
    if wrong or not all(each.rows for each in outcomes):
        sys.exit(1)


if __name__ == "__main__":
    main()
