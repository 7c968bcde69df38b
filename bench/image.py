"""Build deploy/Dockerfile without an engine, and try it: ``python -m bench.image [--keep DIR]``.

For machines without a container engine: each stage is a tree of debootstrap's, each RUN a chroot.
It takes root, debootstrap, 2 GB below DIR and as long as the downloads do; DIR/image is the tree,
for ``bench.k8s_pod``. What is tried: the program starts, attaches its eBPF programs and reports, in
the container that deploy/daemonset.yaml makes (bench.rig.container), with no compiler and no
headers in it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cluster.objects import NODE
from bench.rig.agent import wait_for_pids
from bench.rig.container import CHECKOUT, Container
from bench.rig.measure import Figures
from rover.backend import EmbeddedBackend

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCKERFILE = CHECKOUT / "deploy" / "Dockerfile"
SLIM = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info")
"""What the slim base leaves out besides: it is unpacked without documentation."""
KEEP_NO_PACKAGES = """
APT::Keep-Downloaded-Packages "false";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
"""
"""So is apt set up in the slim base."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PASSED_ON = ("http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL", "PIP_DEFAULT_TIMEOUT")
CERTIFICATES = "/run/host-certificates.pem"
ROVERS_FILE = Path("/skywalking/configs/rover_configs.yaml")
"""Where SkyWalking Rover's image has its configuration."""


@dataclass
class Stage:
    tree: Path
    env: dict[str, str] = field(
        default_factory=lambda: {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        }
    )
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
        suite = re.fullmatch(r"debian:(\w+)-slim", image)
        assert suite, f"only Debian's slim images are known, not {image}"
        base = self.folder / f"base-{suite[1]}"
        if not base.exists():
            draft = self.folder / "draft"
            shutil.rmtree(draft, ignore_errors=True)
            bootstrap = ["debootstrap", "--variant=minbase", suite[1], str(draft)]
            subprocess.run(bootstrap, check=True, stdout=sys.stderr)
            subprocess.run(["chroot", draft, "apt-get", "clean"], check=True)
            (draft / "etc/apt/apt.conf.d/slim").write_text(KEEP_NO_PACKAGES)
            for path in SLIM:
                shutil.rmtree(draft / path, ignore_errors=True)
            draft.rename(base)
        tree = self.folder / f"stage-{len(self.stages)}"
        shutil.rmtree(tree, ignore_errors=True)
        subprocess.run(["cp", "--archive", "--reflink=auto", base, tree], check=True)
        self.now = Stage(tree)
        self.stages[named[1] if named else str(len(self.stages))] = self.now

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
