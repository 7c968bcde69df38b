"""What a machine runs whose own Python is too old: Debian 11's is 3.9.

``make run`` there must end at once, in one line that says which Python is needed, before anything
is installed. In a Python that old, with nothing but its library.
"""

import json
import os
import subprocess

ROW = "an old Python is refused"
INSTALLED = "dpkg-query -W | sort | md5sum"


def installed() -> bytes:
    """Return a sum over all packages."""
    return subprocess.run(INSTALLED, shell=True, capture_output=True, check=True).stdout  # noqa: S602


def main() -> None:
    """Say on the second serial port whether it is so."""
    before = installed()
    run = subprocess.run(["make", "run"], capture_output=True, text=True, check=False)
    said = run.stderr.strip().splitlines()
    result = "ok, " + said[0] if said and "Python 3.11" in said[0] else "said: " + run.stderr[-300:]
    if not run.returncode or installed() != before:
        result = "went on: " + run.stdout[-300:]
    with open("/dev/ttyS1", "a") as port:  # noqa: PTH123
        port.writelines(
            json.dumps(line) + "\n"
            for line in (
                {"kernel": os.uname().release, "planned": [ROW]},
                {"row": ROW, "result": result},
            )
        )


main()
