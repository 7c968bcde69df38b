"""What this process may: user, capabilities, namespaces, policies and limits of the kernel."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rover.capabilities import LOOK_INTO_ANY_PROCESS, READ_ANY_FILE, own_capabilities
from rover.doctor.checks import Check, Outcome, fail, ok, warn
from rover.errors import ProbeError
from rover.probes import pid_namespace, refusals

if TYPE_CHECKING:
    from collections.abc import Iterator

RIGHTS: Final = "rights"
PID_NAMESPACE: Final = "pid namespace"
USER_NAMESPACE: Final = "user namespace"
LOCKDOWN: Final = "lockdown"
SYSTEM_CALLS: Final = "system calls"
PARANOID: Final = "perf_event_paranoid"
_ALL_IDS: Final = 4_294_967_295


class Pids(Enum):
    """Whose pids this process has."""

    HOST = "the host's"
    NESTED = "those of a namespace below"
    APART = "others than /proc shows"


@dataclass(frozen=True, slots=True)
class Rights:
    """What the kernel tells of this process and of its own policies."""

    uid: int
    effective: int
    """Capabilities, a bit each."""
    missing: tuple[str, ...]
    """Of those that tracing takes."""
    ids_mapped: int
    """User ids of the host that this user namespace has."""
    pids: Pids
    lockdown: str
    """Of /sys/kernel/security/lockdown; empty where there is none."""
    paranoid: int | None
    modules: str
    """Security modules in force; empty where that cannot be read."""
    confined: str
    """Profile of this process; empty where there is none."""
    forbidden: tuple[str, ...]
    """System calls that are refused whatever they are asked."""
    policy: str
    """What may refuse them."""
    locked_memory: int
    """Bytes to which it may be raised, -1 for any."""
    kernel: int
    """Version, as LINUX_VERSION_CODE."""


def gather(root: Path = Path("/")) -> Rights:
    """Ask the kernel.

    Args:
        root: where /proc and /sys are.
    """
    missing = tuple(refusals.own_missing_capabilities())
    forbidden = {} if missing else refusals.forbidden_calls()
    paranoid = _text(root / "proc/sys/kernel/perf_event_paranoid")
    level = int(paranoid) if paranoid.lstrip("-").isdigit() else None
    ids = _text(root / "proc/self/uid_map").split()
    return Rights(
        uid=os.geteuid(),
        effective=own_capabilities(),
        missing=missing,
        ids_mapped=int(ids[2]) if len(ids) > 2 else 0,  # noqa: PLR2004 - the three of a line
        pids=_pids(),
        lockdown=_text(root / "sys/kernel/security/lockdown"),
        paranoid=level,
        modules=_text(root / "sys/kernel/security/lsm"),
        confined=_text(root / "proc/self/attr/current").strip("\0"),
        forbidden=tuple(forbidden),
        policy=refusals.policy(forbidden, level or 0) if forbidden else "",
        locked_memory=resource.getrlimit(resource.RLIMIT_MEMLOCK)[1],
        kernel=refusals.version_code(),
    )


def checks(rights: Rights, *, raw: bool) -> Iterator[Check]:
    """Judge them.

    Args:
        rights: as `gather` gives them.
        raw: whether programs can be attached without perf events.
    """
    yield _rights(rights)
    yield from _reading(rights)
    yield _pid_namespace(rights)
    if rights.ids_mapped < _ALL_IDS:
        yield fail(
            USER_NAMESPACE,
            f"this is one of its own, with {rights.ids_mapped} ids: its capabilities do not count "
            "for what the host owns",
            "run it in the host's user namespace (hostUsers: true in a pod)",
        )
    else:
        yield ok(USER_NAMESPACE, "the host's")
    yield _lockdown(rights)
    yield _paranoid(rights, raw=raw)
    yield _memory(rights)
    yield _modules(rights)
    yield _calls(rights)


def _rights(rights: Rights) -> Check:
    names = ", ".join(f"CAP_{name}" for name in rights.missing)
    mend = (
        "run it as root, or give the capabilities: AmbientCapabilities= in a systemd unit, "
        f"securityContext.capabilities.add: [{', '.join(rights.missing)}] in a pod"
    )
    if rights.uid != 0 and rights.missing:
        return fail(RIGHTS, f"not root (uid {rights.uid}), and without {names}", mend)
    if rights.missing:
        return fail(RIGHTS, f"root, but without {names}", mend)
    return ok(RIGHTS, f"uid {rights.uid}, with all capabilities that tracing takes")


def _reading(rights: Rights) -> Iterator[Check]:
    for subject, needed, lost in (
        ("looking into processes", LOOK_INTO_ANY_PROCESS, "executables and directories of others"),
        ("reading files", READ_ANY_FILE, "files of language agents that others own"),
    ):
        if any(rights.effective >> bit & 1 for bit in needed.values()):
            yield ok(subject, "allowed")
        else:
            name = next(iter(needed))
            yield warn(
                subject, f"without CAP_{name}: {lost} are not seen", f"add CAP_{name}", RIGHTS
            )


def _pids() -> Pids:
    try:
        return Pids.NESTED if pid_namespace.own() else Pids.HOST
    except ProbeError:
        return Pids.APART


def _pid_namespace(rights: Rights) -> Check:
    if rights.pids is Pids.HOST:
        return ok(PID_NAMESPACE, "the host's")
    if rights.pids is Pids.NESTED:
        return warn(PID_NAMESPACE, pid_namespace.BEYOND_SIGHT, pid_namespace.WHEN_RIGHT)
    return fail(PID_NAMESPACE, pid_namespace.OTHER_PROC, pid_namespace.MEND_PROC)


def _lockdown(rights: Rights) -> Check:
    if "[confidentiality]" in rights.lockdown:
        return fail(
            LOCKDOWN,
            "the kernel is locked down (confidentiality), which forbids tracing programs",
            "boot with lockdown=integrity, or let it scan: it works without eBPF",
        )
    level = rights.lockdown.partition("[")[2].partition("]")[0]
    return ok(LOCKDOWN, level or "none")


def _paranoid(rights: Rights, *, raw: bool) -> Check:
    level = rights.paranoid
    if level is None:
        return ok(PARANOID, "not told by this kernel")
    too_much = level > refusals.MAINLINE_PARANOID
    may = rights.effective >> refusals.CAP_SYS_ADMIN & 1
    if raw or not too_much or may:
        why = ", not asked for by raw tracepoints" if too_much and raw else ""
        return ok(PARANOID, f"{level}{why}")
    return fail(
        PARANOID,
        f"{level}: without raw tracepoints it takes perf events, which this forbids",
        "sysctl kernel.perf_event_paranoid=2 on the host, or CAP_SYS_ADMIN",
    )


def _memory(rights: Rights) -> Check:
    if rights.kernel >= refusals.MAPS_NO_LOCKED_MEMORY_SINCE:
        return ok("locked memory", "not counted for maps since Linux 5.11")
    if rights.locked_memory == resource.RLIM_INFINITY or (
        rights.effective >> refusals.CAP_SYS_RESOURCE & 1
    ):
        return ok("locked memory", "no limit, or one that may be raised")
    return fail(
        "locked memory",
        f"RLIMIT_MEMLOCK is {rights.locked_memory} bytes, and maps count before Linux 5.11",
        "ulimit -l unlimited, LimitMEMLOCK=infinity, or CAP_SYS_RESOURCE",
        RIGHTS,
    )


def _modules(rights: Rights) -> Check:
    in_force = rights.modules or "not told"
    if rights.confined in {"", "unconfined", "kernel"} or "unconfined" in rights.confined:
        return ok("security modules", f"{in_force}; this process is not confined")
    return warn(
        "security modules",
        f"{in_force}; this process runs as {rights.confined}, which may forbid what follows",
        "appArmorProfile: {type: Unconfined} and seLinuxOptions: {type: spc_t} in a pod",
    )


def _calls(rights: Rights) -> Check:
    if rights.missing:
        return Check(SYSTEM_CALLS, Outcome.SKIPPED, "not tried", needs=(RIGHTS,))
    if "bpf" in rights.forbidden:
        says = f"{', '.join(rights.forbidden)} refused"
        return fail(SYSTEM_CALLS, says, rights.policy, USER_NAMESPACE, LOCKDOWN)
    if rights.forbidden:
        says = f"{', '.join(rights.forbidden)} refused: raw tracepoints alone can be had"
        return warn(SYSTEM_CALLS, says, rights.policy, PARANOID)
    return ok(SYSTEM_CALLS, "bpf and perf_event_open may be called")


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
