"""What the child may do: look into processes and files, and nothing else."""

from __future__ import annotations

import ctypes
import os
import resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# include/uapi/linux/prctl.h, capability.h
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_PR_CAPBSET_DROP: Final = 24
_SIGKILL: Final = 9
"""By number: the module of signals brings a megabyte of others."""
_CAPABILITY_VERSION: Final = 0x20080522
_KEPT: Final = (1 << 2) | (1 << 19)
"""CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE, as far as the agent has them."""
_LAST_CAPABILITY: Final = 63
CHECKPOINT_RESTORE: Final = 1 << 40
"""CAP_CHECKPOINT_RESTORE: opens what lies behind a mapping (/proc/PID/map_files)."""
_ADDRESS_SPACE: Final = 256 * 1_048_576
_DESCRIPTORS: Final = 128
_FILE_SIZE: Final = 0


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def give_up_rights(
    parent: int,
    *,
    beside: int = 0,
    address_space: int = _ADDRESS_SPACE,
    descriptors: int = _DESCRIPTORS,
) -> None:
    """End with the parent, and keep only what reading takes; call it in the first thread.

    Capabilities belong to a thread: those started later have what this one has then. What the
    kernel or a policy refuses is left as it is: less than all is still less.

    Args:
        parent: the agent's pid; where it is gone already, the child ends.
        beside: further capabilities to keep, a bit each.
        address_space: bytes of memory at most.
        descriptors: open files at most.
    """
    keep = _KEPT | beside
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    for capability in range(_LAST_CAPABILITY + 1):
        if not keep >> capability & 1:
            libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    header, sets = _Header(_CAPABILITY_VERSION, 0), (_Sets * 2)()
    if libc.capget(ctypes.byref(header), sets) == 0:
        for at, each in enumerate(sets):
            kept = keep >> (32 * at) & 0xFFFFFFFF
            each.effective &= kept
            each.permitted &= kept
            each.inheritable = 0
        libc.capset(ctypes.byref(header), sets)
    for limit, most in (
        (resource.RLIMIT_AS, address_space),
        (resource.RLIMIT_NOFILE, descriptors),
        (resource.RLIMIT_FSIZE, _FILE_SIZE),
        (resource.RLIMIT_CORE, 0),
    ):
        _limit(limit, most)


def start_nothing_more() -> None:
    """Let this process make no thread and no process any more."""
    _limit(resource.RLIMIT_NPROC, 0)


def _limit(which: int, most: int) -> None:
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    try:
        resource.setrlimit(which, (most, most))
    except (OSError, ValueError):
        return
