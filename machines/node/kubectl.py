"""What an operator says to the cluster, by kubectl."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from machines.node.place import Place, run

Object = dict[str, Any]


class Kubectl:
    """kubectl with the administrator's rights."""

    def __init__(self, place: Place, kubeconfig: Path) -> None:
        self.command = [str(place.components / "kubectl"), f"--kubeconfig={kubeconfig}"]
        os.environ["HOME"] = str(place.scratch)  # kubectl keeps what it has discovered there

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """Run it; return what it printed.

        Raises:
            RuntimeError: it refused; with its words.
        """
        return run(*self.command, *arguments, stdin=stdin)

    def apply(self, objects: Iterable[Object]) -> None:
        """Have the cluster hold these objects."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self("apply", "-f", "-", stdin=json.dumps(listed))

    def get(self, *what: str) -> Any:  # noqa: ANN401 - as the API has it
        """Return an object, or a list's."""
        return json.loads(self("get", *what, "--output=json"))

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Start it beside the caller, who reads and ends it."""
        return subprocess.Popen(
            [*self.command, *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
