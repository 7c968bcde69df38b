"""The matrix of machines: ``python -m machines [--only NAME]... [ROW...]``, as root.

Boots Debian's releases with Debian's kernels under QEMU and runs each row in each. What is found is
kept; a run of all rows on all machines, as by `make machines`, writes docs/machines.md, and so does
``--table`` of all that was found, without a run. By KVM where it boots a stock kernel, by emulation
else: there counts hold and times do not.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Final

from machines import guest, image, results
from machines.inside import ROWS
from machines.node.table import section_of

RESULTS: Final = image.ROOT / "docs" / "machines.md"
TIMEOUTS: Final = {"kvm": 900.0, "tcg": 3600.0}
"""Seconds for one machine."""


def main() -> None:
    """Run what is asked for; end with 1 where a row of any machine is not ok."""
    parser = argparse.ArgumentParser(prog="machines", description=__doc__)
    names = [each.name for each in image.MACHINES]
    parser.add_argument("--only", action="append", choices=names, help="a machine; may be repeated")
    parser.add_argument("--folder", type=Path, default=image.CACHE, help="takes what is found")
    parser.add_argument("--table", action="store_true", help="run nothing, write the table")
    parser.add_argument("rows", nargs="*", help="rows, blanks as _; all where none is named")
    asked = parser.parse_args()
    known = [row.replace(" ", "_") for row in ROWS]
    if strange := sorted(set(asked.rows).difference(known)):
        parser.error(f"no such row: {' '.join(strange)}; there are {' '.join(known)}")
    right = True
    if not asked.table:
        if missing := image.missing_tools():
            sys.exit(f"machines: needs {', '.join(missing)}: apt-get install "
                     "--no-install-recommends mmdebstrap e2fsprogs qemu-system-x86")  # fmt: skip
        asked.folder.mkdir(parents=True, exist_ok=True)
        right = run(asked.only or names, asked.rows, asked.folder)
    if asked.table or not (asked.only or asked.rows):
        write(asked.folder)
    sys.exit(0 if right else 1)


def run(names: list[str], rows: list[str], folder: Path) -> bool:
    """Run rows on machines, print and keep what they come to; tell whether all are ok.

    Args:
        names: of the machines.
        rows: as `machines.inside` takes them, all where none is named.
        folder: takes the consoles and what is found.
    """
    accelerator, right = "", True
    for machine in image.MACHINES:
        if machine.name not in names:
            continue
        built = image.build(machine)
        accelerator = accelerator or ("kvm" if guest.kvm_works(built) else "tcg")
        programs = results.programs()
        outcome = guest.run(
            machine,
            built,
            rows,
            accelerator=accelerator,
            timeout=TIMEOUTS[accelerator],
            folder=folder,
        )
        cells = [
            results.Cell(
                machine.name, row, said, outcome.kernel, accelerator,
                time.strftime("%Y-%m-%d"), programs,
            )
            for row, said in outcome.rows.items()
        ]  # fmt: skip
        results.add(folder / results.NAME, cells)
        print(f"{machine.name} kernel={outcome.kernel} seconds={outcome.seconds:.0f}", flush=True)
        for cell in cells:
            print(f"  {cell.row}: {cell.result}", flush=True)
        right = right and bool(cells) and all(cell.result[:2] == "ok" for cell in cells)
    return right


def write(folder: Path) -> None:
    """Write docs/machines.md of what is kept."""
    cells = results.read(folder / results.NAME)
    if not cells:
        sys.exit(f"machines: {folder} has no results: run some first")
    node = section_of(RESULTS.read_text())  # of `make node`, which has its own time
    RESULTS.write_text(f"{results.table(cells, list(ROWS))}\n{node}".rstrip() + "\n")


if __name__ == "__main__":
    main()
