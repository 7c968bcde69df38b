"""Images without a registry: Debian's slim base, and any tree as an archive that engines load."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

SLIM = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info")
"""What the slim base leaves out besides: it is unpacked without documentation."""
KEEP_NO_PACKAGES = """
APT::Keep-Downloaded-Packages "false";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
"""
"""So is apt set up in the slim base."""
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""The kernel's names of processors, and images' own."""


def suite_of(image: str) -> str:
    """Return which of Debian's releases a slim image is."""
    suite = re.fullmatch(r"debian:(\w+)-slim", image)
    assert suite, f"only Debian's slim images are known, not {image}"
    return suite[1]


def base_of(image: str, folder: Path) -> Path:
    """Return the root file system of a slim image; it is made once in a folder, by debootstrap."""
    suite = suite_of(image)
    base = folder / f"base-{suite}"
    if not base.exists():
        draft = folder / "draft"
        shutil.rmtree(draft, ignore_errors=True)
        bootstrap = ["debootstrap", "--variant=minbase", suite, str(draft)]
        subprocess.run(bootstrap, check=True, stdout=sys.stderr)
        subprocess.run(["chroot", draft, "apt-get", "clean"], check=True)
        (draft / "etc/apt/apt.conf.d/slim").write_text(KEEP_NO_PACKAGES)
        for path in SLIM:
            shutil.rmtree(draft / path, ignore_errors=True)
        draft.rename(base)
    return base


def archive(
    tree: Path, name: str, place: Path, *, command: Sequence[str], variables: Sequence[str] = ()
) -> None:
    """Write a tree as an image of one layer, in the form of ``docker save``.

    Args:
        tree: its root file system.
        name: with the registry's part and the tag.
        place: the archive; it appears when it is whole.
        command: what a container runs unless told otherwise.
        variables: ``NAME=value``.
    """
    with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
        layer = Path(scratch, "layer.tar")
        subprocess.run(
            ["tar", "--numeric-owner", "--one-file-system", "-C", tree, "-cf", layer, "."],
            check=True,
        )
        with layer.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        described = {
            "architecture": ARCHITECTURES[platform.machine()],
            "os": "linux",
            "config": {"Cmd": list(command), "Env": list(variables)},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
        Path(scratch, "config.json").write_text(json.dumps(described))
        listed = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
        Path(scratch, "manifest.json").write_text(json.dumps(listed))
        whole = Path(scratch, "whole.tar")
        with tarfile.open(whole, "w") as written:
            for part in ("manifest.json", "config.json", "layer.tar"):
                written.add(Path(scratch, part), part)
        whole.rename(place)
