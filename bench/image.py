"""Build deploy/Dockerfile without an engine, and try it: ``python -m bench.image [--keep DIR]``.

For machines without a container engine: each stage is a tree of debootstrap's, each RUN a chroot.
It takes root, debootstrap, 2 GB below DIR and as long as the downloads do; DIR/image is the tree,
for ``bench.k8s_pod``. What is tried: the program starts, attaches its eBPF programs and reports, in
the container that deploy/daemonset.yaml makes (bench.rig.container), with no compiler and no
headers in it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cluster.objects import NODE
from bench.rig.backend import wait_for_pids
from bench.rig.container import Container
from bench.rig.dockerfile import DOCKERFILE, Builder, Stage, enter
from bench.rig.figures import Figures
from bench.rig.manifest import CHECKOUT
from rover.backend import EmbeddedBackend

if TYPE_CHECKING:
    from collections.abc import Iterator

ROVERS_FILE = Path("/skywalking/configs/rover_configs.yaml")
"""Where SkyWalking Rover's image has its configuration."""


def size(tree: Path) -> float:
    """MiB of a tree."""
    said = subprocess.run(["du", "-sxk", tree], check=True, capture_output=True, text=True)
    return int(said.stdout.split()[0]) / 1024


@contextlib.contextmanager
def running(stage: Stage, folder: Path, made: Container, config: str) -> Iterator[Path]:
    """Run a container on the image; give its log."""
    for name in ("state", "config", "mounts"):
        (folder / name).mkdir()
    for name in ("rover.yaml", ROVERS_FILE.name):
        (folder / "config" / name).write_text(config)
    sources = {"hostPath:/var/lib/rover": folder / "state", "configMap:rover": folder / "config"}
    log = folder / "log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            made.started_by(folder / "mounts", sources, root=stage.tree), stdout=sink, stderr=sink
        )
    try:
        yield log
    finally:
        process.terminate()
        if process.wait(10):
            sys.stderr.write(log.read_text())
            raise RuntimeError(f"the agent ended with {process.returncode}")


def attaches_and_reports(stage: Stage, made: Container, config: str) -> bool:
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedBackend() as backend,
        contextlib.ExitStack() as stack,
    ):

        def spawn(name: str) -> int:
            program = Path(folder, f"{name}-{os.getpid()}")  # an entity of its own
            shutil.copy("/bin/sleep", program)
            process = subprocess.Popen([program, "600"])
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process.pid

        env = {
            **made.env,
            **stage.env,
            "ROVER_BACKEND_ADDR": backend.address,
            "ROVER_STATUS_ADDR": "127.0.0.1:0",
            "ROVER_PROCESS_DISCOVERY_KUBERNETES_ACTIVE": "false",
            "ROVER_PROCESS_DISCOVERY_SCAN_MODE": "AUTO",
            "ROVER_PROCESS_DISCOVERY_REQUIRE_EBPF": "true",
        }
        before = spawn("before")
        with running(stage, Path(folder), replace(made, env=env), config) as log:
            wait_for_pids(backend, {before})
            wait_for_pids(backend, {before, spawn("after")})
        return "headers=shim" in log.read_text()


def try_out(figures: Figures, stage: Stage) -> None:
    said = enter(stage, ["rover", "version"], capture_output=True, check=True).stdout
    figures.add(f"says {said.strip()!r}", 1, "", met=said.startswith("rover "))
    tools = enter(
        stage,
        ["/bin/sh", "-c", "command -v gcc cc clang make pip; find /usr/include /usr/src -type f"],
        capture_output=True,
    ).stdout.split()
    figures.add("compilers, installers and headers in it", len(tools), "", "0", met=not tools)
    made = Container.of_manifest(NODE)
    fine = attaches_and_reports(stage, made, "")
    figures.add("the manifest's command attaches and reports", int(fine), "", met=fine)
    (mount,) = [each for each in made.mounts if each.source.startswith("configMap:")]
    others = [each for each in made.mounts if each != mount]
    file = (CHECKOUT / "tests/unit/config/files/rover-0.7.yaml").read_text()
    for whose, command in (
        ("the image's", stage.command),
        ("SkyWalking Rover's", ("/skywalking-rover", "start", "--config", str(ROVERS_FILE))),
    ):
        at_rovers_place = replace(mount, path=str(ROVERS_FILE.parent))
        rovers = replace(made, command=command, mounts=(*others, at_rovers_place))
        fine = attaches_and_reports(stage, rovers, file)
        figures.add(f"{whose} command does, with SkyWalking Rover's file", int(fine), "", met=fine)


def main() -> None:
    keep = Path(sys.argv[sys.argv.index("--keep") + 1]) if "--keep" in sys.argv else None
    figures = Figures("the image")
    figures.start()
    with contextlib.ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(exist_ok=True)
        stage = Builder(folder).build(DOCKERFILE.read_text())
        (folder / "image").unlink(missing_ok=True)
        (folder / "image").symlink_to(stage.tree.name)
        figures.add("size, unpacked", size(stage.tree), "MiB")
        figures.add("  of it the base", size(folder / "base-bookworm"), "MiB")
        figures.add("  of it the agent and its libraries", size(stage.tree / "opt"), "MiB")
        try_out(figures, stage)
    figures.end()


if __name__ == "__main__":
    main()
