"""Boot a machine under QEMU, have it run what it is given, and read what it found."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from machines.image import ROOT, Image, Machine

KVM: Final = Path("/dev/kvm")
KVM_BOOTS_WITHIN: Final = 10.0
"""Seconds in which a kernel without a root comes to its panic; by emulation it takes as long."""
PROCESSORS, MEMORY = 2, "2G"
PATIENT: Final = "loglevel=5 systemd.show_status=false systemd.default_timeout_start_sec=900"
"""An emulated machine beside other work may take minutes to come up, and longer where the audit's
notices go out by a serial port."""
PAYLOAD: Final = ("machines", "tests", "bench", "deploy", "pyproject.toml", "docs", "bpf")
BEGIN: Final = """#!/bin/sh -eu
cd /run/machine
if [ -x /opt/rover/bin/pip ]; then
    /opt/rover/bin/pip install --quiet --no-deps --no-index ./*.whl
    exec /opt/rover/bin/python -m machines.inside "$@"
fi
exec python3 machines/old_python.py
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one machine said of itself, and how long it ran."""

    machine: Machine
    kernel: str
    """Its release; empty where the machine did not come up."""
    rows: dict[str, str]
    """What each row came to: "ok", or what went wrong."""
    seconds: float
    console: Path


def kvm_works(image: Image) -> bool:
    """Tell whether KVM boots a stock kernel here.

    That /dev/kvm can be opened says little: within a virtual machine it may take a kernel made for
    it. So a kernel without a root is booted, which panics when it is through.
    """
    if not os.access(KVM, os.R_OK | os.W_OK):
        return False
    command = [*_qemu("kvm"), "-kernel", str(image.kernel), "-append", "console=ttyS0 panic=-1"]
    try:
        ended = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=KVM_BOOTS_WITHIN,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False
    return b"Kernel panic" in ended.stdout


def run(
    machine: Machine,
    image: Image,
    rows: Sequence[str],
    *,
    accelerator: str,
    timeout: float,
    folder: Path,
) -> Outcome:
    """Boot a machine for these rows, all where none is named; it switches itself off.

    Args:
        machine: for its name and its kernel's command line.
        image: not written to.
        rows: names of `machines.inside`.
        accelerator: kvm or tcg.
        timeout: seconds after which it is ended; its rows so far count.
        folder: takes its console and its findings.
    """
    began = time.monotonic()
    console, findings = folder / f"{machine.name}.console", folder / f"{machine.name}.rows"
    findings.write_text("")
    with tempfile.TemporaryDirectory() as scratch:
        payload = Path(scratch) / "payload.tar"
        _pack(payload, rows, wheel=machine.can_run_rover)
        kernel_line = f"console=ttyS0 panic=-1 {PATIENT} {machine.boot}"
        command = [
            *_qemu(accelerator),
            *("-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append", kernel_line),
            *("-drive", f"file={image.disk},format=raw,if=virtio,snapshot=on"),
            *("-drive", f"file={payload},format=raw,if=virtio,readonly=on"),
            *("-serial", f"file:{console}", "-serial", f"file:{findings}"),
        ]
        try:
            subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False
            )
        except subprocess.TimeoutExpired:
            ended = f"not within {timeout:g} s"
        else:
            ended = "the machine ended before"
    kernel, found = "", {}
    for line in findings.read_text(errors="replace").splitlines():
        if not line.startswith("{"):
            continue
        said = json.loads(line)
        kernel = said.get("kernel", kernel)
        if "row" in said:
            found[said["row"]] = said["result"]
        for name in said.get("planned", ()):
            found[name] = ended
    return Outcome(machine, kernel, found, time.monotonic() - began, console)


def _qemu(accelerator: str) -> list[str]:
    fast = accelerator == "kvm"
    return [
        *("qemu-system-x86_64", "-machine", "q35", "-accel", "kvm" if fast else "tcg,thread=multi"),
        *("-cpu", "host,-arch-capabilities" if fast else "max"),
        *("-smp", str(PROCESSORS), "-m", MEMORY, "-display", "none", "-no-reboot", "-nic", "none"),
    ]


def _pack(place: Path, rows: Sequence[str], *, wheel: bool) -> None:
    """Write the archive that the machine finds on its second disk."""
    with tempfile.TemporaryDirectory() as scratch, tarfile.open(place, "w") as archive:
        if wheel:
            subprocess.run(
                [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", scratch, ROOT],
                check=True,
            )
            for built in Path(scratch).glob("*.whl"):
                archive.add(built, built.name)
        for name in PAYLOAD:
            archive.add(ROOT / name, name, filter=_without_caches)
        archive.add(ROOT / "Makefile", "Makefile")
        begin = Path(scratch) / "begin"
        begin.write_text(BEGIN.replace('"$@"', shlex.join(rows)))
        begin.chmod(0o755)
        archive.add(begin, "begin")


def _without_caches(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "__pycache__" in member.name else member
