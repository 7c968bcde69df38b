"""The Debian package: built, looked over by lintian, installed, used and purged.

dpkg installs it for good, so it is given a copy of this host: an overlay with changes in memory.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kernel import needs

from rover import __version__
from rover.backend import EmbeddedBackend

ROOT = Path(__file__).parents[2]
INSIDE = "/run/rover.deb"
DPKGS_OWN = ("var/lib/dpkg/", "var/log/", "var/cache/", "var/lib/systemd/", "run/", "tmp/")
COPY = """
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount -t proc proc "$1/root/proc"
mount --rbind /sys "$1/root/sys"
mount --rbind /dev "$1/root/dev"
mount -t tmpfs tmpfs "$1/root/run"
mount -t tmpfs tmpfs "$1/root/tmp"
echo ready
exec sleep 600
"""

pytestmark = [
    needs("dh", "dpkg-buildpackage", "lintian", "unshare", "nsenter"),
    pytest.mark.skipif(os.geteuid() != 0, reason="dpkg installs as root"),
    pytest.mark.timeout(600),
]


class Copy:
    """A copy of this host with the package in it."""

    def __init__(self, folder: Path, package: Path) -> None:
        self.changed = folder / "upper"
        self._root = folder / "root"
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-ec", COPY, "sh", folder],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._holder.stdout
        assert self._holder.stdout.readline() == "ready\n"
        self._package = package

    def command(self, *arguments: str) -> list[str]:
        inside = ["nsenter", "--mount", f"--target={self._holder.pid}"]
        return [*inside, "chroot", str(self._root), *arguments]

    def run(self, *arguments: str, **environment: str) -> str:
        said = subprocess.run(
            self.command(*arguments),
            capture_output=True, text=True, check=False, env={**os.environ, **environment},
        )  # fmt: skip
        assert said.returncode == 0, said.stdout + said.stderr
        return said.stdout

    def install(self) -> None:
        content = self._package.read_bytes()
        subprocess.run(self.command("/bin/sh", "-c", f"cat > {INSIDE}"), input=content, check=True)
        self.run("dpkg", "--install", INSIDE)

    def differences(self) -> list[str]:
        """Return the files that differ from the host's, but for dpkg's own records."""
        listed = subprocess.run(
            ["nsenter", "--mount", f"--target={self._holder.pid}", "find", self.changed, "-type",
             "f,l", "-printf", "%P\\n"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return [path for path in listed.stdout.split() if not path.startswith(DPKGS_OWN)]

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout
        self._holder.stdout.close()


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build it as `make deb` does; lintian's errors and warnings end that."""
    to = tmp_path_factory.mktemp("dist")
    # what is inside is the same; packing it small takes 14 s more of CPU
    environment = {**os.environ, "DPKG_DEB_COMPRESSOR_LEVEL": "1"}
    built = subprocess.run(
        [ROOT / "deploy" / "build-deb.sh", sys.executable, to],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    (found,) = to.glob("*.deb")
    return found


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory, package: Path) -> Iterator[Copy]:
    made = Copy(tmp_path_factory.mktemp("copy"), package)
    made.install()
    yield made
    made.close()


def test_it_brings_the_command_its_manual_and_its_completion(copy: Copy):
    assert copy.run("rover", "version") == f"rover {__version__}\n"
    for page in ("rover", "rover-start", "rover-log-level", "rover-config-check"):
        assert f"man1/{page}.1.gz" in copy.run("dpkg", "--listfiles", "skywalking-rover")
    completion = "source /usr/share/bash-completion/completions/rover; complete -p rover"
    assert "rover" in copy.run("bash", "-c", completion)


def test_it_says_what_it_is_made_of(copy: Copy):
    path = "/usr/share/doc/skywalking-rover/sbom.cdx.json.gz"
    text = subprocess.run(copy.command("cat", path), capture_output=True, check=True).stdout
    told = json.loads(gzip.decompress(text))
    assert told["metadata"]["component"]["version"] == __version__
    names = {each["name"] for each in told["components"]}
    assert {"grpcio", "kubernetes", "skywalking-rover-py"} <= names
    assert "aiohttp" not in names


def test_the_unit_starts_the_packages_own_command_and_nothing_starts_by_itself(copy: Copy):
    unit = copy.run("cat", "/lib/systemd/system/rover.service")
    assert "\nExecStart=/usr/bin/rover start $ROVER_ARGS\n" in unit
    assert "/opt/" not in unit
    assert not [path for path in copy.differences() if path.endswith(".wants/rover.service")]


def test_the_file_for_a_token_is_roots_alone(copy: Copy):
    assert copy.run("stat", "-c", "%a %U", "/etc/rover/rover.env") == "600 root\n"


@pytest.mark.kernel
def test_it_attaches_and_reports(copy: Copy, spawn: Callable[..., subprocess.Popen[bytes]]):
    with EmbeddedBackend() as backend:
        spawn(
            *copy.command("rover", "start", "--require-ebpf"),
            env={**os.environ, "ROVER_BACKEND_ADDR": backend.address},
        )
        held = backend.state.wait_for(lambda held: any(r.visible for r in held.processes), 30)
        assert held.processes


def test_purged_it_leaves_nothing(copy: Copy):
    copy.run("/bin/sh", "-c", "mkdir -p /var/lib/rover && echo 1 > /var/lib/rover/agent-id")
    copy.run("dpkg", "--purge", "skywalking-rover")
    assert copy.differences() == []
