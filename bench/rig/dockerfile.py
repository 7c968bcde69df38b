"""Builds deploy/Dockerfile without a container engine: stages are trees, each RUN is a chroot."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.rig.base_image import base_of
from bench.rig.manifest import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCKERFILE = CHECKOUT / "deploy" / "Dockerfile"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PASSED_ON = ("http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL", "PIP_DEFAULT_TIMEOUT")
CERTIFICATES = "/run/host-certificates.pem"


@dataclass
class Stage:
    tree: Path
    env: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    directory: str = "/"
    command: tuple[str, ...] = ()


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yield each instruction of a Dockerfile with its arguments."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        name, _, rest = line.strip().partition(" ")
        yield name.upper(), rest.strip()


class Builder:
    """Knows what deploy/Dockerfile uses of the language, and stops at anything else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stages: dict[str, Stage] = {}
        self.now: Stage | None = None

    def build(self, text: str) -> Stage:
        for name, rest in instructions(text):
            print(f"{name} {rest[:100]}", file=sys.stderr, flush=True)
            getattr(self, f"do_{name.lower()}")(rest)
        assert self.now
        return self.now

    def do_from(self, rest: str) -> None:
        image, *named = rest.split()
        tree = self.folder / f"stage-{len(self.stages)}"
        shutil.rmtree(tree, ignore_errors=True)
        if image == "scratch":
            tree.mkdir()
        else:
            self._copy_base(image, tree)
        self.now = Stage(tree)
        self.stages[named[1] if named else str(len(self.stages))] = self.now

    def _copy_base(self, image: str, tree: Path) -> None:
        base = base_of(image, self.folder)
        subprocess.run(["cp", "--archive", "--reflink=auto", base, tree], check=True)

    def do_run(self, rest: str) -> None:
        assert self.now
        enter(self.now, ["/bin/sh", "-ec", rest], check=True, stdout=sys.stderr)

    def do_copy(self, rest: str) -> None:
        assert self.now
        *options, source, target = rest.split()
        root = CHECKOUT
        for option in options:
            root = self.stages[option.removeprefix("--from=")].tree
        place = self.now.tree / Path(self.now.directory, target).resolve().relative_to("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if source == ".":
            # as .dockerignore has it: what is not in the repository does not count either
            listed = subprocess.run(
                ["git", "ls-files", "-z", "--cached"], cwd=root, check=True, capture_output=True
            )
            copy = ["cp", "--parents", "--target-directory", place]
            names = [name for name in listed.stdout.decode().split("\0") if name]
            subprocess.run([*copy, *names], cwd=root, check=True)
        elif source == "/":
            subprocess.run(["cp", "-a", "--reflink=auto", f"{root}/.", place], check=True)
        else:
            subprocess.run(["cp", "-a", root / source.lstrip("/"), place], check=True)

    def do_workdir(self, rest: str) -> None:
        assert self.now
        self.now.directory = rest
        (self.now.tree / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)

    def do_env(self, rest: str) -> None:
        assert self.now
        for assignment in shlex.split(rest):
            name, _, value = assignment.partition("=")
            self.now.env[name] = value.replace("$PATH", self.now.env["PATH"])

    def do_label(self, rest: str) -> None:
        """Labels change nothing."""

    def do_cmd(self, rest: str) -> None:
        assert self.now
        self.now.command = tuple(json.loads(rest))


def enter(
    stage: Stage, command: list[str], *, check: bool = False, **how: object
) -> subprocess.CompletedProcess[str]:
    """Run a command in a stage's tree, with its variables."""
    certificates = os.environ.get("SSL_CERT_FILE", "")
    variables = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    lines = [
        f"cd {shlex.quote(str(stage.tree))}",
        "mount -t proc proc proc; mount --rbind /dev dev; mount -t tmpfs tmpfs run",
        "touch etc/resolv.conf; mount --bind /etc/resolv.conf etc/resolv.conf",
    ]
    if certificates:
        # of a proxy on the way to the package index, say
        place = CERTIFICATES.lstrip("/")
        lines.append(f"touch {place}; mount --bind {shlex.quote(certificates)} {place}")
        variables |= {"PIP_CERT": CERTIFICATES}
    assignments = [f"{name}={value}" for name, value in {**stage.env, **variables}.items()]
    inner = ["/bin/sh", "-ec", f'cd {shlex.quote(stage.directory)}; exec "$@"', "sh", *command]
    lines.append("exec " + shlex.join(["chroot", ".", "/usr/bin/env", "-i", *assignments, *inner]))
    start = ["unshare", "--mount", "--propagation=private", "sh", "-ec", "\n".join(lines)]
    return subprocess.run(start, text=True, check=check, **how)
