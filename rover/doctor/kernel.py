"""What the kernel and BCC offer for eBPF, up to a real load and attach."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rover.capabilities import own_capabilities
from rover.doctor.checks import Check, Outcome, fail, ok, warn
from rover.doctor.rights import (
    LOCKDOWN,
    PARANOID,
    PID_NAMESPACE,
    RIGHTS,
    SYSTEM_CALLS,
    USER_NAMESPACE,
)
from rover.errors import ProbeError
from rover.probes import refusals, settling
from rover.probes.btf import VMLINUX
from rover.probes.loader import TRACEPOINTS
from rover.probes.loading import interpreter
from rover.probes.tracefs import TRACEFS

if TYPE_CHECKING:
    from collections.abc import Iterator

KERNEL: Final = "kernel"
BTF: Final = "BTF"
TRACE: Final = "tracefs"
BCC: Final = "BCC"
LOAD: Final = "load and attach"
ASK_BCC: Final = (
    "import bcc, sys\n"
    "print(bcc.__file__ or '', hasattr(bcc, 'BPF'), getattr(bcc, '__version__', ''), sep='|')"
)
BCC_WITHIN: Final = 20.0
"""Seconds that importing it may take."""
DISTRIBUTIONS: Final = "apt-get install python3-bpfcc (Debian, Ubuntu), dnf install python3-bcc"


@dataclass(frozen=True, slots=True)
class Offers:
    """What there is."""

    release: str
    version: int
    mounts: bool
    """Whether this process may mount what is not mounted, and has a place for it."""
    btf: str
    """Why it cannot be used; empty where it can."""
    tracefs: str
    """Where it is; empty where it is not."""
    tracefs_fault: str
    tracepoints: tuple[str, ...]
    """Those that it has."""
    python: str
    """In which BCC is looked for."""
    bcc: str
    """What it said of BCC: file, whether it is BCC, version; or an error without bars."""


def gather(root: Path = Path("/")) -> Offers:
    """Look at them.

    Args:
        root: where /sys is.
    """
    place, fault = _tracefs(root)
    there = [each for each in TRACEPOINTS if place and _has(place, each)]
    python = interpreter()
    return Offers(
        release=platform.release(),
        version=refusals.version_code(),
        mounts=bool(own_capabilities() >> refusals.CAP_SYS_ADMIN & 1) and not fault,
        btf=_btf(root / str(VMLINUX).lstrip("/")),
        tracefs=str(place or ""),
        tracefs_fault=fault,
        tracepoints=tuple(there),
        python=python,
        bcc=_ask_bcc(python),
    )


def checks(offers: Offers) -> Iterator[Check]:
    """Judge all but the load."""
    yield _kernel(offers)
    if offers.btf:
        mend = "a kernel with CONFIG_DEBUG_INFO_BTF attaches with fewer rights"
        yield warn(BTF, offers.btf, mend, KERNEL)
    else:
        yield ok(BTF, str(VMLINUX))
    yield from _tracing(offers)
    yield _bcc(offers)


def load() -> Check:
    """Compile, load and attach the agent's own programs, and detach them again."""
    host = (RIGHTS, PID_NAMESPACE, USER_NAMESPACE, LOCKDOWN, SYSTEM_CALLS)
    needs = (*host, KERNEL, BCC, TRACE, PARANOID)
    try:
        probes = settling.attach()
    except ProbeError as error:
        says, _, mend = str(error).partition("\n")[0].rpartition("; ")
        if not says:
            says, mend = mend, ""
        return fail(LOAD, says, mend or "the line above says why", *needs)
    loaded = probes.loaded
    probes.close()
    if loaded.not_better:
        says, _, mend = loaded.not_better.rpartition("; ")
        return warn(LOAD, f"done by {loaded.way}, not raw ones: {says}", mend, BTF)
    return ok(LOAD, f"done by {loaded.way}, with a ring buffer; detached again")


def _kernel(offers: Offers) -> Check:
    if offers.version >= refusals.RING_BUFFERS_SINCE:
        return ok(KERNEL, f"Linux {offers.release}")
    return fail(
        KERNEL,
        f"Linux {offers.release} has no ring buffers for eBPF",
        "Linux 5.8 or later; or let it scan: it works without eBPF",
    )


def _tracing(offers: Offers) -> Iterator[Check]:
    needless = not offers.btf
    if not offers.tracefs:
        says = offers.tracefs_fault or "not mounted"
        if needless:
            yield ok(TRACE, f"{says}; not needed, since there is BTF")
        elif offers.mounts:
            yield ok(TRACE, f"{says}; the agent mounts it for a moment, for itself alone")
        else:
            yield fail(
                TRACE,
                f"{says}, and without BTF it is needed",
                f"mount -t tracefs tracefs {TRACEFS[0]} on the host; in a pod, a hostPath volume",
                RIGHTS,
            )
        return
    yield ok(TRACE, offers.tracefs)
    for tracepoint in TRACEPOINTS:
        if tracepoint in offers.tracepoints:
            yield ok(f"tracepoint {tracepoint}", "there")
        else:
            yield warn(
                f"tracepoint {tracepoint}",
                "this kernel does not have it",
                "what no event tells is found by comparing with /proc",
                TRACE,
            )


def _bcc(offers: Offers) -> Check:
    file, bar, rest = offers.bcc.partition("|")
    if not bar or not file:
        why = "" if bar else f": {offers.bcc}"
        return fail(BCC, f"{offers.python} has none{why}", DISTRIBUTIONS)
    is_bcc, _, version = rest.partition("|")
    if is_bcc != "True":
        return fail(
            BCC,
            f"{file} is another library of that name, as PyPI has it",
            f"pip uninstall bcc, then {DISTRIBUTIONS}",
        )
    return ok(BCC, f"{version or 'of unknown version'} in {offers.python}")


def _btf(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return "" if file.read(2) else f"{path} is empty"
    except OSError as error:
        return f"{VMLINUX}: {error.strerror}"


def _tracefs(root: Path) -> tuple[Path | None, str]:
    for place in TRACEFS:
        try:
            if (root / str(place).lstrip("/") / "events" / "sched").is_dir():
                return root / str(place).lstrip("/"), ""
        except OSError as error:
            return None, f"{place} cannot be read: {error.strerror}"
    if any((root / str(place).lstrip("/")).is_dir() for place in TRACEFS):
        return None, ""
    return None, f"{TRACEFS[0]} does not exist: /sys is not mounted, or the kernel cannot trace"


def _has(place: Path, tracepoint: str) -> bool:
    return (place / "events" / tracepoint.replace(":", "/") / "format").exists()


def _ask_bcc(python: str) -> str:
    try:
        done = subprocess.run(
            [python, "-c", ASK_BCC],
            capture_output=True,
            text=True,
            timeout=BCC_WITHIN,
            check=False,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error).replace("|", " ")
    said = done.stdout.strip() or done.stderr.strip()
    return said.splitlines()[-1] if said else f"it ended with {done.returncode}"


SKIPPED_LOAD: Final = Check(LOAD, Outcome.SKIPPED, "not asked for")
