"""Who made the user namespace that a process is in: of many users in it, the one behind them all.

A user of the host may have tens of thousands of others in namespaces of their own (subuid(5)).
"""

from __future__ import annotations

import array
import fcntl
import os
from typing import Final

NOBODY_KNOWN: Final = -1
_NS_GET_PARENT: Final = 0xB702
_NS_GET_OWNER_UID: Final = 0xB704
"""ioctl_ns(2), Linux 4.9 and 4.11."""
_DEEPEST: Final = 32
"""User namespaces in each other, user_namespaces(7)."""


def owner_of(pid: int, proc: str = "/proc") -> int:
    """Return the user who made the outermost namespace around a process, below the agent's own.

    `NOBODY_KNOWN` where there is none, or that cannot be told. Opens nothing but the kernel's own
    files, and never waits.
    """
    try:
        own = os.stat("/proc/self/ns/user")  # noqa: PTH116
        descriptor = os.open(f"{proc}/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return NOBODY_KNOWN
    owner = NOBODY_KNOWN
    try:
        for _ in range(_DEEPEST):
            if os.path.samestat(os.fstat(descriptor), own):
                return owner
            told = array.array("I", [0])
            fcntl.ioctl(descriptor, _NS_GET_OWNER_UID, told)
            owner = told[0]
            parent = fcntl.ioctl(descriptor, _NS_GET_PARENT)
            os.close(descriptor)
            descriptor = parent
    except OSError:
        return NOBODY_KNOWN  # a namespace around the agent's own, or beside it
    finally:
        os.close(descriptor)
    return NOBODY_KNOWN
