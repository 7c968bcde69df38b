"""What a machine runs: ``python -m machines.inside [ROW...]``, as root, the checkout around it.

Each row is a claim about the agent on this machine. It says "ok" or what went wrong on the second
serial port, a JSON object a line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "integration"))


from machines import attaching, living, naming, storms

FINDINGS: Final = Path("/dev/ttyS1")
ROWS: Final[dict[str, Callable[[], str]]] = {
    **attaching.ROWS,
    **naming.ROWS,
    **living.ROWS,
    **storms.ROWS,
}


def say(**fields: object) -> None:
    """Tell the host a line."""
    with FINDINGS.open("a") as port:
        port.write(json.dumps(fields) + "\n")
    print(json.dumps(fields), flush=True)


def main() -> None:
    """Run the rows that are named, or all; a row that fails stops no other."""
    wanted = [name for name in ROWS if not sys.argv[1:] or name.replace(" ", "_") in sys.argv[1:]]
    say(kernel=os.uname().release, planned=wanted)
    for name in wanted:
        began = time.monotonic()
        try:
            result = ROWS[name]() or "ok"
        except Exception as error:  # whatever it is, the row says it
            result = f"{type(error).__name__}: {error}"[:400]
            traceback.print_exc()
        say(row=name, result=result, seconds=round(time.monotonic() - began, 1))
    subprocess.run(["sync"], check=False)


if __name__ == "__main__":
    main()
