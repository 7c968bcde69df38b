"""Writes what an installation is made of, as CycloneDX 1.6: ``sbom.py NAME VERSION``.

It names the Python distributions that the interpreter which runs it can import, and with --debian
the packages that dpkg has installed. The same installation gives the same text: it holds no time.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from importlib.metadata import Distribution, distributions
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterator

DPKG: Final = (
    "dpkg-query",
    "-W",
    "-f",
    "${db:Status-Abbrev}\t${Package}\t${Version}\t${Architecture}\n",
)
INSTALLED: Final = "ii"


def python_components(path: list[str]) -> Iterator[dict[str, Any]]:
    """Name each Python distribution once, the first on the path as Python itself takes it."""
    known = set()
    for distribution in distributions(path=path):
        name = re.sub(r"[-_.]+", "-", distribution.name).lower()
        if name not in known:
            known.add(name)
            version = distribution.version
            yield {
                "type": "library",
                "bom-ref": f"pypi:{name}",
                "name": name,
                "version": version,
                "purl": f"pkg:pypi/{name}@{quote(version)}",
                **_licenses(distribution),
            }


def _licenses(distribution: Distribution) -> dict[str, Any]:
    expression = distribution.metadata.get("License-Expression")
    return {"licenses": [{"expression": expression}]} if expression else {}


def debian_components(listed: str, release: str) -> Iterator[dict[str, Any]]:
    """Name each installed Debian package.

    Args:
        listed: what `DPKG` prints.
        release: VERSION_CODENAME of the system.
    """
    for line in listed.splitlines():
        status, name, version, architecture = line.split("\t")
        if status.strip() == INSTALLED:
            about = f"arch={architecture}&distro={release}"
            yield {
                "type": "library",
                "bom-ref": f"deb:{name}:{architecture}",
                "name": name,
                "version": version,
                "purl": f"pkg:deb/debian/{quote(name)}@{quote(version)}?{about}",
            }


def bill(name: str, version: str, components: list[dict[str, Any]]) -> dict[str, Any]:
    """Make the document of an application with these components."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": name,
                "name": name,
                "version": version,
            },
        },
        "components": sorted(components, key=lambda each: str(each["bom-ref"])),
    }


def release() -> str:
    """Return the codename of this system's release."""
    with open("/etc/os-release", encoding="utf-8") as file:  # noqa: PTH123 - pathlib is not needed
        found = re.search(r"^VERSION_CODENAME=(\w+)", file.read(), re.MULTILINE)
    return found[1] if found else "unknown"


def main() -> None:
    """Print the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("version")
    parser.add_argument("--only", metavar="DIR", help="Python distributions of this folder alone")
    parser.add_argument("--debian", action="store_true", help="Debian packages as well")
    chosen = parser.parse_args()
    components = list(python_components([chosen.only] if chosen.only else sys.path))
    if chosen.debian:
        listed = subprocess.run(DPKG, check=True, capture_output=True, text=True).stdout
        components += debian_components(listed, release())
    json.dump(bill(chosen.name, chosen.version, components), sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
