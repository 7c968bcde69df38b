"""Build what a node is made of: Kubernetes and etcd from their Go modules, and the pause program.

Debian has no current Kubernetes; the Go modules have, with every line that goes into them fixed by
components/go.sum. What is built stays in the cache until go.mod or go.sum changes.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

MODULE: Final = Path(__file__).parent / "components"
TOOLS: Final = ("go", "gcc")
BUILT_AS: Final = {"server": "etcd"}
"""Names that the module's path gives and nobody would know."""
VERSION_PACKAGE: Final = "k8s.io/component-base/version"


def kubernetes_version() -> str:
    """Return the version of Kubernetes that go.mod asks for."""
    text = (MODULE / "go.mod").read_text()
    found = re.search(r"^\s*(?:require )?k8s\.io/kubernetes (v\S+)", text, re.MULTILINE)
    assert found, "components/go.mod names no version of k8s.io/kubernetes"
    return found[1]


def build(cache: Path) -> Path:
    """Return the folder of the programs, building them first where the cache has none.

    Takes about ten minutes of two processors, and as long as the modules' downloads do.

    Raises:
        subprocess.CalledProcessError: Go or the C compiler refused; they have said why.
    """
    sums = (MODULE / "go.mod").read_bytes() + (MODULE / "go.sum").read_bytes()
    folder = cache / f"components-{hashlib.sha256(sums).hexdigest()[:12]}"
    if folder.exists():
        return folder
    building = folder.with_suffix(".building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    version = kubernetes_version()
    major, minor, _ = version.removeprefix("v").split(".")
    stamps = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    flags = " ".join(f"-X {VERSION_PACKAGE}.{name}={value}" for name, value in stamps.items())
    _go("build", "-trimpath", "-o", f"{building}/", "-ldflags", f"-s -w {flags}", "tool")
    for name, known_as in BUILT_AS.items():
        (building / name).rename(building / known_as)
    source = Path(_go("list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes").strip())
    pause = source / "build/pause/linux/pause.c"
    subprocess.run(["gcc", "-Os", "-static", "-s", "-o", building / "pause", pause], check=True)
    building.rename(folder)
    return folder


def _go(*arguments: str) -> str:
    run = subprocess.run(
        ["go", *arguments],
        cwd=MODULE,
        env={**os.environ, "CGO_ENABLED": "0"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return run.stdout
