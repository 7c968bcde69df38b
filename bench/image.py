"""Build deploy/Dockerfile without an engine, and try it: ``python -m bench.image [--keep DIR]``.

For machines without a container engine: each stage is a tree of debootstrap's, each RUN a chroot.
It takes root, debootstrap, 2 GB below DIR and as long as the downloads do; DIR/image is the tree,
for ``bench.k8s_pod``. What is tried: the program starts, attaches its eBPF programs and reports, in
the container that deploy/daemonset.yaml makes (bench.rig.container), with no compiler and no
headers in it.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

from bench.cluster.objects import NODE
from bench.rig import sleepers
from bench.rig.backend import wait_for_pids
from bench.rig.container import Container, running
from bench.rig.dockerfile import DOCKERFILE, Builder, Stage, enter
from bench.rig.figures import Figures
from bench.rig.manifest import CHECKOUT
from bench.rig.options import options
from rover.backend import EmbeddedBackend

ROVERS_FILE = Path("/skywalking/configs/rover_configs.yaml")
"""Where SkyWalking Rover's image has its configuration."""


def size(tree: Path) -> float:
    """MiB of a tree."""
    said = subprocess.run(["du", "-sxk", tree], check=True, capture_output=True, text=True)
    return int(said.stdout.split()[0]) / 1024


def attaches_and_reports(stage: Stage, made: Container, config: str) -> bool:
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedBackend() as backend,
        sleepers.running(1) as group,
    ):
        env = {
            **made.env,
            **stage.env,
            "ROVER_BACKEND_ADDR": backend.address,
            "ROVER_STATUS_ADDR": "127.0.0.1:0",
            "ROVER_PROCESS_DISCOVERY_KUBERNETES_ACTIVE": "false",
            "ROVER_PROCESS_DISCOVERY_SCAN_MODE": "AUTO",
            "ROVER_PROCESS_DISCOVERY_REQUIRE_EBPF": "true",
        }
        files = {"rover.yaml": config, ROVERS_FILE.name: config}
        of_image = replace(made, env=env)
        with running(of_image, Path(folder), files, root=stage.tree) as (_, log):
            wait_for_pids(backend, set(group.pids))
            wait_for_pids(backend, {group.start()})
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
    parser = options(__doc__)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="build there and leave it")
    chosen = parser.parse_args()
    figures = Figures("the image", as_json=chosen.json)
    figures.start()
    with contextlib.ExitStack() as stack:
        folder = chosen.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(exist_ok=True)
        stage = Builder(folder).build(DOCKERFILE.read_text())
        (folder / "image").unlink(missing_ok=True)
        (folder / "image").symlink_to(stage.tree.name)
        figures.limit("size, unpacked", size(stage.tree), "MiB", 400)
        figures.add("  of it the base", size(folder / "base-bookworm"), "MiB")
        figures.add("  of it the agent and its libraries", size(stage.tree / "opt"), "MiB")
        try_out(figures, stage)
    figures.end()


if __name__ == "__main__":
    main()
