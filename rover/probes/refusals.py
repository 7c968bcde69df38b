"""Why a kernel refuses eBPF programs, and what to do about it.

The standard library alone: the loader's child imports this.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
from pathlib import Path
from typing import Final

# bits of include/uapi/linux/capability.h
CAP_SYS_ADMIN: Final = 21
CAP_SYS_RESOURCE: Final = 24
TRACING_CAPABILITIES: Final = {"PERFMON": 38, "BPF": 39}

INITIAL_USER_NAMESPACE: Final = 0xEFFFFFFD
"""Inode of the first user namespace (PROC_USER_INIT_INO of the kernel's proc_ns.h)."""

# versions as LINUX_VERSION_CODE has them
RING_BUFFERS_SINCE: Final = 0x050800
MAPS_NO_LOCKED_MEMORY_SINCE: Final = 0x050B00
REGISTERS_SINCE: Final = 0x050F00
"""Of a task, by bpf_task_pt_regs."""

UNWOUND: Final = ("x86_64",)
"""Architectures whose registers and rows bpf/profile.c knows."""

SYSTEM_CALLS: Final = {
    "x86_64": {"bpf": 321, "perf_event_open": 298},
    "aarch64": {"bpf": 280, "perf_event_open": 241},
}
BPF_PROG_LOAD: Final = 5
PERF_ATTRIBUTE_BYTES: Final = 128
"""At least what any kernel reads of struct perf_event_attr whose size is said to be 0."""
PARANOID: Final = Path("/proc/sys/kernel/perf_event_paranoid")
MAINLINE_PARANOID: Final = 2
"""Linux itself knows no higher level; from 3 or 4 on, distributions ask for CAP_SYS_ADMIN."""


class LoadError(Exception):
    """Something that this host does not offer, with what to do about it."""

    def __init__(self, tried: str, advice: str) -> None:
        super().__init__(tried)
        self.advice = advice


def version_code() -> int:
    """Return the running kernel's version as LINUX_VERSION_CODE has it."""
    numbers = [
        int("".join(c for c in part if c.isdigit()) or 0)
        for part in platform.release().split("-")[0].split(".")[:3]
    ]
    major, minor, patch = [*numbers, 0, 0, 0][:3]
    return (major << 16) + (minor << 8) + min(patch, 255)


def missing_capabilities(effective: int, kernel: int, memory_lockable: int) -> list[str]:
    """Return which capabilities a process lacks to load and attach.

    Args:
        effective: its capabilities, a bit each; CAP_SYS_ADMIN stands for both that tracing needs.
        kernel: version, as LINUX_VERSION_CODE.
        memory_lockable: bytes to which it may raise RLIMIT_MEMLOCK; -1 for any.
    """
    missing = [name for name, bit in TRACING_CAPABILITIES.items() if not effective >> bit & 1]
    if effective >> CAP_SYS_ADMIN & 1:
        missing = []
    locks = kernel < MAPS_NO_LOCKED_MEMORY_SINCE and memory_lockable != resource.RLIM_INFINITY
    if locks and not effective >> CAP_SYS_RESOURCE & 1:
        missing.append("SYS_RESOURCE")
    return missing


def own_missing_capabilities() -> list[str]:
    """Return what this process lacks."""
    status = Path("/proc/self/status").read_text()
    effective = int(status.partition("CapEff:")[2].split()[0], 16)
    return missing_capabilities(
        effective, version_code(), resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    )


def no_unwinding() -> str:
    """Say why stacks are walked by frame pointers alone; empty where they need not be."""
    if platform.machine() not in UNWOUND:
        return f"unwinding by .eh_frame is not written for {platform.machine()}"
    if version_code() < REGISTERS_SINCE:
        return f"it takes Linux 5.15, this is {platform.release()}"
    return ""


def in_user_namespace() -> bool:
    """Tell whether this process's capabilities are those of a user namespace other than the host's.

    Tracing takes the host's, whatever it has in its own (bpf_capable, perfmon_capable).
    """
    try:
        return Path("/proc/self/ns/user").stat().st_ino != INITIAL_USER_NAMESPACE
    except OSError:  # a kernel without them
        return False


def forbidden_calls() -> dict[str, int]:
    """Return the system calls that are refused whatever they are asked, with their errno.

    They are asked for as little as can be. bpf(2) without attributes is EINVAL or EFAULT to those
    who may call it. perf_event_open(2) looks at the caller's rights only after it has read its
    attributes, so it gets zeros: an event of the hardware, or ENOENT where that counts none.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    forbidden = {}
    for name, number in SYSTEM_CALLS.get(platform.machine(), {}).items():
        if name == "bpf":
            result = libc.syscall(number, BPF_PROG_LOAD, None, 0)
        else:
            attributes = (ctypes.c_char * PERF_ATTRIBUTE_BYTES)()
            result = libc.syscall(number, ctypes.byref(attributes), 0, -1, -1, 0)
        if result >= 0:
            os.close(result)
        elif ctypes.get_errno() in (errno.EPERM, errno.EACCES, errno.ENOSYS):
            forbidden[name] = ctypes.get_errno()
    return forbidden


def policy(forbidden: dict[str, int], paranoid: int) -> str:
    """Say what forbids these system calls to a process that has the capabilities, and what to do.

    Args:
        forbidden: errno by name, not empty.
        paranoid: kernel.perf_event_paranoid.
    """
    if set(forbidden.items()) == {("perf_event_open", errno.EACCES)} and (
        paranoid > MAINLINE_PARANOID
    ):
        return (
            f"kernel.perf_event_paranoid is {paranoid}, for which this distribution's kernel asks "
            "for CAP_SYS_ADMIN: on the host, sysctl kernel.perf_event_paranoid=2; or in a pod add "
            "securityContext.capabilities.add: [SYS_ADMIN] and take allowPrivilegeEscalation out"
        )
    without = "; or the kernel has none" if errno.ENOSYS in forbidden.values() else ""
    return (
        f"the agent has the capabilities, so a seccomp profile or an LSM forbids "
        f"{' and '.join(f'{name}(2)' for name in forbidden)}: in a pod set "
        f"securityContext.seccompProfile: {{type: Unconfined}}, for a container "
        f"--security-opt seccomp=unconfined{without}"
    )


def refusal(error: Exception) -> LoadError:
    """Explain why the kernel refused to load or attach."""
    try:
        lockdown = Path("/sys/kernel/security/lockdown").read_text()
    except OSError:
        lockdown = ""
    if "[confidentiality]" in lockdown:
        advice = "the kernel is locked down (confidentiality), which forbids tracing programs"
    elif version_code() < RING_BUFFERS_SINCE:
        advice = f"Linux 5.8 or later is needed, this is {platform.release()}"
    elif in_user_namespace():
        advice = (
            "the agent runs in a user namespace of its own, where nobody has the host's "
            "capabilities that tracing takes: hostUsers: true in a pod, or let it scan, as on a "
            "node of rootless Docker or Podman"
        )
    elif missing := own_missing_capabilities():
        advice = (
            f"missing {', '.join('CAP_' + name for name in missing)}: run as root, or in a pod add "
            f"securityContext.capabilities.add: [{', '.join(missing)}]"
        )
    elif forbidden := forbidden_calls():
        advice = policy(forbidden, int(PARANOID.read_text()) if PARANOID.exists() else 0)
    else:
        advice = (
            "either it lacks CONFIG_BPF_EVENTS, or its verifier takes the programs for wrong: that "
            "is a defect worth a report with what it printed"
        )
    return LoadError(f"the kernel refused the eBPF programs: {error}", advice)
