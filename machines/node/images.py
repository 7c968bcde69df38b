"""Make the images that a node runs, as archives for ``ctr images import``; no registry is asked."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from bench.rig.base_image import archive
from bench.rig.dockerfile import DOCKERFILE, Builder
from machines.image import ROOT

PAUSE: Final = "rover.test/pause:1"
PROGRAMS: Final = "rover.test/programs:1"
ROVER: Final = "docker.io/library/rover:0.1.0"
"""What deploy/daemonset.yaml's ``rover:0.1.0`` means to containerd."""
OF_ROVER: Final = ("rover", "bpf", "deploy", "pyproject.toml", "README.md", "LICENSE")
APPLETS: Final = ("sh", "sleep", "true", "unshare", "cat", "kill")
NAMES: Final = (
    *("web", "worker", "sidecar", "initial", "debugger", "executed", "nested", "static"),
)
"""Programs that stay until SIGTERM; each has an executable of its own, so that names tell them
apart."""


def pause(components: Path, cache: Path) -> Path:
    """Return the archive of the sandbox's image: Kubernetes' own pause program."""
    place = cache / "pause.tar"
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch)
        shutil.copy(components / "pause", tree / "pause")
        archive(tree, PAUSE, place, command=["/pause"])
    return place


def programs(components: Path, cache: Path) -> Path:
    """Return the archive of the workloads' image: Debian's static busybox and copies of pause."""
    place = cache / "programs.tar"
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch)
        for name in ("bin", "tmp", "proc", "sys", "dev", "etc"):
            (tree / name).mkdir()
        shutil.copy("/bin/busybox", tree / "bin/busybox")
        for name in APPLETS:
            (tree / "bin" / name).symlink_to("busybox")
        for name in NAMES:
            shutil.copy(components / "pause", tree / "bin" / name)
        archive(tree, PROGRAMS, place, command=["/bin/web"])
    return place


def rover(cache: Path) -> Path:
    """Return the archive of the agent's image, made by the steps of deploy/Dockerfile.

    It is made anew where anything that goes into it has changed; that takes some minutes.
    """
    place = cache / f"rover-{_sum_of_rover()}.tar"
    if not place.exists():
        folder = cache / "image"
        folder.mkdir(exist_ok=True)
        stage = Builder(folder).build(DOCKERFILE.read_text())
        for older in cache.glob("rover-*.tar"):
            older.unlink()
        variables = [f"{name}={value}" for name, value in stage.env.items()]
        archive(stage.tree, ROVER, place, command=stage.command, variables=variables)
    return place


def _sum_of_rover() -> str:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *OF_ROVER], cwd=ROOT, capture_output=True, check=True
    )
    total = hashlib.sha256()
    for name in listed.stdout.split(b"\0")[:-1]:
        total.update(name + b"\0" + (ROOT / name.decode()).read_bytes())
    return total.hexdigest()[:12]
