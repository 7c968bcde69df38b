"""Processes in cgroups with names that look like containers, pods and services, or like nothing."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.neighbours.place import Place

TREES = ("/sys/fs/cgroup/unified", "/sys/fs/cgroup", "/sys/fs/cgroup/pids")
LIVING = 20


def cgroups(place: Place) -> None:
    """Move processes about among cgroups with names by chance."""
    tree = next((Path(tree) for tree in TREES if Path(tree, "cgroup.procs").exists()), None)
    if tree is None:
        raise SystemExit("no cgroup tree is mounted")
    made: list[Path] = []
    try:
        while place.goes_on():
            while len(place.children) < LIVING:
                place.start(["sleep", "3600"])
            cgroup = tree / f"{place.random.choice(SHAPES)(place)}"
            with contextlib.suppress(OSError):
                cgroup.mkdir()
                made.append(cgroup)
                (cgroup / "cgroup.procs").write_text(str(place.random.choice(place.children)))
            if len(made) > LIVING:
                _remove(tree, made.pop(0))
            if place.random.random() < 0.2:
                place.end_one()
            place.pause(0.05, 0.2)
    finally:
        place.end_all()
        for cgroup in made:
            _remove(tree, cgroup)


def _remove(tree: Path, cgroup: Path) -> None:
    with contextlib.suppress(OSError):
        for pid in (cgroup / "cgroup.procs").read_text().split():
            (tree / "cgroup.procs").write_text(pid)
        cgroup.rmdir()


def _id(place: Place) -> str:
    return f"{place.random.getrandbits(256):064x}"


SHAPES = (
    lambda place: f"docker-{_id(place)}.scope",
    lambda place: f"kubepods-burstable-pod1.slice:cri-containerd:{_id(place)}",
    lambda place: f"x{place.random.randrange(99)}.service",
    lambda place: "\\x2d" * place.random.randrange(1, 60) + ".service",
    lambda place: place.text(60).replace("/", "") or "x",
    lambda place: ":" * place.random.randrange(1, 200),
    lambda place: f"{_id(place)} (deleted)",
)
