"""The image by the tools of its users: ``python -m bench.engine [--json] [--folder DIR]``.

Takes root, buildah, podman and debootstrap. The words are those of docs/install.md, read from
there: the image is built by buildah and its container run by podman, in a store of their own. No
registry is asked: the base image is made by debootstrap, once in the folder, and loaded under the
name that deploy/Dockerfile gives it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.rig import sleepers
from bench.rig.backend import wait_for_pids
from bench.rig.base_image import archive, base_of
from bench.rig.dockerfile import DOCKERFILE, instructions
from bench.rig.figures import Figures
from bench.rig.manifest import CHECKOUT
from bench.rig.options import options
from rover import __version__
from rover.backend import EmbeddedBackend

if TYPE_CHECKING:
    from collections.abc import Iterator

DOC = CHECKOUT / "docs" / "install.md"
IMAGE = f"rover:{__version__}"
CERTIFICATES = "/run/host-certificates.pem"
MOST_MIB = 400
SETTINGS = {
    "storage.conf": '[storage]\ndriver = "overlay"\ngraphroot = "{0}/store"\nrunroot = "{0}/run"\n',
    # a host without systemd as well, and one that has both kinds of cgroups, where crun gives up
    "containers.conf": "[engine]\n"
    'cgroup_manager = "cgroupfs"\nevents_logger = "file"\nruntime = "runc"\n'
    # what podman would set may be more than this user may have
    '[containers]\ndefault_ulimits = ["nofile=16384:16384", "nproc=16384:16384"]\n',
    "pip.conf": f"[global]\ncert = {CERTIFICATES}\n",
}


def words_of_the_doc() -> dict[str, list[str]]:
    """Return the commands of the section on containers by their second word."""
    section = DOC.read_text().partition("\n## A container\n")[2].partition("\n## ")[0]
    lines = re.sub(r"\\\n\s*", " ", "\n".join(re.findall(r"(?m)^    (.*)$", section))).splitlines()
    return {shlex.split(line)[1]: shlex.split(line) for line in lines}


@dataclass(frozen=True)
class Engine:
    """buildah and podman with a store of their own."""

    folder: Path

    def prepare(self) -> None:
        for name, text in SETTINGS.items():
            (self.folder / name).write_text(text.format(self.folder))

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one of their commands; return what it prints, what it complains of is shown."""
        env = {
            **os.environ,
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
        }
        print(shlex.join(command)[:150], file=sys.stderr, flush=True)
        return subprocess.run(
            command, cwd=CHECKOUT, env=env, check=check, text=True, stdout=subprocess.PIPE
        )

    def load_bases(self) -> None:
        """Have each base that deploy/Dockerfile names."""
        for step, rest in instructions(DOCKERFILE.read_text()):
            image = rest.split()[0]
            name = f"docker.io/library/{image}"
            if step != "FROM" or image == "scratch" or self._has(name):
                continue
            whole = self.folder / "base.tar"
            archive(base_of(image, self.folder), name, whole, command=["bash"])
            self.run("buildah", "pull", "--quiet", f"docker-archive:{whole}")
            whole.unlink()

    def _has(self, name: str) -> bool:
        return self.run("buildah", "images", "--quiet", name, check=False).returncode == 0

    def build(self) -> None:
        """Build the image by the doc's words; pip is told of this host's certificates, if any."""
        certificates = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE")
        mounts = {certificates: CERTIFICATES, str(self.folder / "pip.conf"): "/etc/pip.conf"}
        extra = [f"--volume={here}:{there}:ro" for here, there in mounts.items() if certificates]
        _, verb, *words = words_of_the_doc()["build"]
        self.run("buildah", verb, "--pull=never", *extra, *words)
        self.run("buildah", "rmi", "--prune")  # the image of an earlier run, which lost its name

    def inspected(self) -> dict[str, Any]:
        """Return what podman says of the image."""
        return json.loads(self.run("podman", "image", "inspect", IMAGE).stdout)[0]

    def asked(self, name: str, command: str) -> str:
        """Return what a command of the agent's tells in JSON, in a container; whatever its end."""
        asking = ("podman", "exec", name, "rover", command, "-o", "json")
        return self.run(*asking, check=False).stdout

    @contextlib.contextmanager
    def mounted(self) -> Iterator[Path]:
        """Give the image's root file system until the end of the block."""
        tree = Path(self.run("podman", "image", "mount", IMAGE).stdout.strip())
        try:
            yield tree
        finally:
            self.run("podman", "image", "unmount", IMAGE)


def spoken(backend: str, state: Path, name: str) -> list[str]:
    """Return the doc's words that run the container, for podman; its places stand for the doc's."""
    _, *words = words_of_the_doc()["run"]
    here = {
        "/var/lib/rover:/var/lib/rover": f"{state}:/var/lib/rover",
        "ROVER_BACKEND_ADDR=oap.example.org:11800": f"ROVER_BACKEND_ADDR={backend}",
    }
    changed = [here.get(word, word) for word in words]
    changed[words.index("--name") + 1] = name
    return ["podman", *changed]


def look_at(figures: Figures, engine: Engine) -> None:
    """Measure what was built."""
    told = engine.inspected()
    figures.limit("size, unpacked", told["Size"] / 2**20, "MiB", MOST_MIB)
    figures.add(
        "layers", len(told["RootFS"]["Layers"]), "", "1", met=len(told["RootFS"]["Layers"]) == 1
    )
    labels = told["Labels"] or {}
    titled = labels.get("org.opencontainers.image.title") == "rover"
    figures.add("labels", len(labels), "", "title", met=titled)
    with engine.mounted() as tree:
        left = [
            path
            for place in ("var/cache", "var/lib/apt", "var/log", "tmp", "root/.cache", "src")
            for path in (tree / place).rglob("*")
            if path.is_file()
        ]
        figures.add("files left of the build", len(left), "", "0", met=not left)
        parts = json.loads((tree / "opt/rover/sbom.cdx.json").read_text())["components"]
        named = {part["name"] for part in parts}
        known = {"grpcio", "python3-bpfcc", "libc6"} <= named
        figures.add("components in its SBOM", len(parts), "", met=known)


def try_out(figures: Figures, engine: Engine) -> None:
    """Run it as the docs say, beside a process to be reported."""
    said = engine.run("podman", "run", "--rm", IMAGE, "rover", "--version").stdout
    figures.add(f"says {said.strip()!r}", 1, "", met=said == f"rover {__version__}\n")
    name = f"rover-bench-{os.getpid()}"
    with (
        tempfile.TemporaryDirectory() as state,
        EmbeddedBackend() as backend,
        sleepers.running(1) as group,
    ):
        began = time.monotonic()
        engine.run(*spoken(backend.address, Path(state), name))
        try:
            wait_for_pids(backend, set(group.pids))
            figures.add("podman run to a process reported", time.monotonic() - began, "s")
            wait_for_pids(backend, {group.start()})
            told = json.loads(engine.asked(name, "status"))
            by = told["ebpf"]["detail"]
            figures.add(f"eBPF in it: {by[:40]}", 1, "", met=by.startswith("attached"))
            checks = json.loads(engine.asked(name, "doctor"))["checks"]
            failed = [f"{each['subject']}: {each['says']}" for each in checks
                      if each["outcome"] == "fail"]  # fmt: skip
            print(*told["because"], *failed, sep="\n", file=sys.stderr)
            figures.add("what the doctor in it fails", len(failed), "", "0", met=not failed)
            began = time.monotonic()
            engine.run("podman", "stop", name)
            figures.limit("podman stop", time.monotonic() - began, "s", 5)
            ended = json.loads(engine.run("podman", "inspect", name).stdout)[0]["State"]["ExitCode"]
            figures.add("exit code", ended, "", "0", met=ended == 0)
        finally:
            engine.run("podman", "rm", "--force", "--time=0", name, check=False)


def main() -> None:
    parser = options(__doc__)
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("~/.cache/rover-engine").expanduser(),
        help="keeps base and store; default: %(default)s",
    )
    chosen = parser.parse_args()
    figures = Figures("the image, built by buildah and run by podman", as_json=chosen.json)
    figures.start()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    engine = Engine(chosen.folder.resolve())
    engine.prepare()
    engine.load_bases()
    began = time.monotonic()
    engine.build()
    figures.add("buildah build", time.monotonic() - began, "s")
    look_at(figures, engine)
    try_out(figures, engine)
    figures.end()


if __name__ == "__main__":
    main()
