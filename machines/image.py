"""Build what a machine boots from: a Debian userland with a kernel of Debian's, kept in a cache.

The userland holds what the rows need (systemd, podman, containerd, nspawn) and the agent's
dependencies below /opt/rover, but not the agent: that goes in with each run. Debian's own tools do
the work: mmdebstrap, mke2fs, and apt inside the new system; pip fetches with this host's settings.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "rover-machines"
TOOLS: Final = ("mmdebstrap", "mke2fs", "qemu-system-x86_64")
RECIPE: Final = "1"
"""Raised with every change of the steps below, so that no older image is taken for theirs."""
DISK: Final = "6G"
"""Sparse: what the file system may grow to."""

BASE: Final = (
    *("systemd", "systemd-sysv", "dbus", "libpam-systemd", "systemd-container", "udev"),
    *("procps", "kmod", "iproute2", "util-linux", "busybox-static", "ca-certificates"),
    *("python3-venv", "python3-pip", "make"),
)
WORKLOADS: Final = (
    *("python3-bpfcc", "gcc", "libc6-dev", "podman", "crun", "runc", "containerd", "conmon"),
)
NEEDED_TO_MOUNT_ROOT: Final = ("virtio_pci", "virtio_blk", "ext4")

INIT: Final = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs none /dev
for module in $(/bin/busybox cat /order); do /bin/busybox insmod "/$module"; done
/bin/busybox mount -t ext4 /dev/vda /root
exec /bin/busybox switch_root /root /sbin/init
"""

UNPACK_KERNEL: Final = r"""
cd /tmp
apt-get update -qq -o Acquire::Check-Valid-Until=false # an archive that is frozen is as good
depends() { apt-cache depends "$1" | sed -n "s/.*Depends: \(linux-$2-[0-9].*\)/\1/p"; }
package=$(depends linux-image-amd64 image | head -1)
# newer ones are in parts
parts="$(depends $package binary) $(depends $package modules) $(depends $package base)"
apt-get download -qq -o APT::Sandbox::User=root $package $parts
for file in ./linux-*.deb; do dpkg -x $file kernel; rm $file; done
find kernel -name 'vmlinuz*' -exec mv {} /boot/vmlinuz ';'
mkdir -p /lib/modules
for place in kernel/lib/modules kernel/usr/lib/modules; do
    [ ! -d $place ] || mv $place/* /lib/modules/
done
rm -rf kernel
depmod $(ls /lib/modules)
apt-get clean
rm -rf /var/lib/apt/lists/*
"""
SERVICE: Final = """[Unit]
Description=What this machine was booted for
After=multi-user.target containerd.service

[Service]
Type=oneshot
StandardOutput=journal+console
StandardError=journal+console
ExecStart=/bin/sh -ec 'mkdir -p /run/machine; tar -xf /dev/vdb -C /run/machine; \\
    exec /run/machine/begin'
ExecStopPost=/bin/systemctl poweroff --force
TimeoutStartSec=infinity
KillMode=process

[Install]
WantedBy=default.target
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """A userland and a kernel."""

    name: str
    release: str
    """Debian's codename."""
    kernel_from: str
    """The suite whose linux-image it boots; its own or a later one."""
    boot: str = ""
    """More for the kernel's command line."""
    can_run_rover: bool = True
    """False where the release's Python is too old."""


MACHINES: Final = (
    Machine("debian11", "bullseye", "bullseye", can_run_rover=False),
    Machine("debian12-k5.10", "bookworm", "bullseye"),
    Machine("debian12", "bookworm", "bookworm"),
    Machine("debian13", "trixie", "trixie"),
    Machine("debian13-preempt", "trixie", "trixie", boot="preempt=full"),
    Machine("debian13-newest", "trixie", "sid"),
)


@dataclass(frozen=True, slots=True)
class Image:
    """What QEMU is given."""

    disk: Path
    kernel: Path
    initrd: Path


def missing_tools() -> list[str]:
    """Return which programs this host lacks to build or boot a machine."""
    return [tool for tool in TOOLS if not shutil.which(tool)]


def cached(machine: Machine) -> Image | None:
    """Return the machine's image where it was built with this recipe; None otherwise."""
    folder = CACHE / f"{machine.release}-{machine.kernel_from}-{_recipe(machine)}"
    image = Image(folder / "disk.ext4", folder / "vmlinuz", folder / "initrd")
    return image if image.initrd.exists() else None


def build(machine: Machine) -> Image:
    """Return the machine's image, building it first where the cache has none; needs root."""
    if image := cached(machine):
        return image
    folder = CACHE / f"{machine.release}-{machine.kernel_from}-{_recipe(machine)}"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="building-") as scratch:
        root = Path(scratch) / "root"
        _bootstrap(machine, root)
        version = _add_kernel(machine, root)
        if machine.can_run_rover:
            _add_dependencies(root)
        _configure(root)
        shutil.copy(root / "boot/vmlinuz", folder / "vmlinuz")
        disk = folder / "disk.ext4"
        _run("mke2fs", "-q", "-t", "ext4", "-F", "-d", str(root), str(disk), DISK)
        # last: its presence says that the image is whole
        building = folder / "initrd.building"
        building.write_bytes(_initrd(root, version))
        building.rename(folder / "initrd")
    return Image(folder / "disk.ext4", folder / "vmlinuz", folder / "initrd")


def _recipe(machine: Machine) -> str:
    """Return a hash of all that an image is made by."""
    parts = [RECIPE, INIT, SERVICE, DISK, *BASE, *NEEDED_TO_MOUNT_ROOT]
    if machine.can_run_rover:
        parts += [*WORKLOADS, *_requirements()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _requirements() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    tests = ("pytest", "pytest-timeout", "hypothesis", "kmock")
    groups = project["dependency-groups"]["dev"]
    return [*project["project"]["dependencies"], *(r for r in groups if r.startswith(tests))]


def _bootstrap(machine: Machine, root: Path) -> None:
    packages = [*BASE, *(WORKLOADS if machine.can_run_rover else ())]
    _run(
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        f"--include={','.join(packages)}",
        machine.release,
        str(root),
    )


def _add_kernel(machine: Machine, root: Path) -> str:
    """Unpack the kernel package into the new system; return the kernel's release."""
    sources = root / "etc/apt/sources.list"
    own = sources.read_text()
    if machine.kernel_from != machine.release:
        first = own.splitlines()[0].replace(f" {machine.release} ", f" {machine.kernel_from} ")
        sources.write_text(first + "\n")
    try:
        _run("chroot", str(root), "sh", "-ec", UNPACK_KERNEL)
    finally:
        sources.write_text(own)
    (version,) = (root / "lib/modules").iterdir()
    return version.name


def _add_dependencies(root: Path) -> None:
    """Install what the agent and its kernel tests need; this host's pip fetches it."""
    version = next((root / "usr/lib").glob("python3.*")).name.removeprefix("python")
    wheels = root / "root/wheels"
    wheels.mkdir()
    requirements = wheels / "requirements.txt"
    requirements.write_text("\n".join(_requirements()) + "\n")
    _run(
        *(sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:"),
        *(f"--python-version={version}", "--implementation=cp", f"--dest={wheels}"),
        f"--requirement={requirements}",
    )
    _run(
        *("chroot", str(root), "sh", "-ec"),
        "python3 -m venv --system-site-packages /opt/rover; PIP_CERT= /opt/rover/bin/pip install "
        "--quiet --no-index --find-links=/root/wheels --requirement=/root/wheels/requirements.txt; "
        "rm -rf /root/wheels",
    )


def _configure(root: Path) -> None:
    """Have the machine do what it is given on its second disk, and little else."""
    (root / "etc/systemd/system/machine.service").write_text(SERVICE)
    (root / "etc/fstab").write_text("")
    (root / "etc/hostname").write_text("machine\n")
    (root / "etc/machine-id").write_text("uninitialized\n")
    names = ("apt-daily.timer", "apt-daily-upgrade.timer", "man-db.timer", "fstrim.timer")
    units = (*names, "e2scrub_all.timer", "e2scrub_reap.service", "dpkg-db-backup.timer")
    _run("systemctl", "--quiet", f"--root={root}", "mask", *units)
    _run("systemctl", "--quiet", f"--root={root}", "enable", "machine.service")


def _initrd(root: Path, version: str) -> bytes:
    """Return an initial ram disk that loads what mounts the root, and goes on there."""
    shown = subprocess.run(
        ["chroot", root, "modprobe", "-S", version, "--show-depends", "-a", *NEEDED_TO_MOUNT_ROOT],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    order = list(
        dict.fromkeys(
            line.split()[1] for line in shown.stdout.splitlines() if line.startswith("insmod ")
        )
    )
    files: list[tuple[str, int, bytes]] = [
        (name, 0o040755, b"") for name in ("bin", "dev", "root", "modules")
    ]
    files += [
        ("bin/busybox", 0o100755, (root / "bin/busybox").read_bytes()),
        ("init", 0o100755, INIT.encode()),
    ]
    names = []
    for path in order:
        content = (root / path.lstrip("/")).read_bytes()
        name = f"modules/{Path(path).name.removesuffix('.xz')}"
        files.append((name, 0o100644, lzma.decompress(content) if path.endswith("z") else content))
        names.append(name)
    files.append(("order", 0o100644, "\n".join(names).encode()))
    return b"".join(_newc(*each) for each in [*files, ("TRAILER!!!", 0, b"")])


def _newc(name: str, mode: int, content: bytes) -> bytes:
    """Return one file of a cpio archive, as the kernel's initramfs documentation has it."""
    numbers = (0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    header = b"070701" + b"".join(b"%08X" % number for number in numbers)
    named = header + name.encode() + b"\0"
    return _padded(named) + _padded(content)


def _padded(content: bytes) -> bytes:
    return content + b"\0" * (-len(content) % 4)


def _run(*command: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    subprocess.run(command, check=True, env=environment)
