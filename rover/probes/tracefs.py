"""Where the kernel describes its tracepoints: needed only where raw tracepoints do not work.

The standard library alone: the loader's child imports this.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rover.probes.refusals import LoadError

if TYPE_CHECKING:
    from collections.abc import Iterable

# where BCC itself looks for the tracepoints' formats
TRACEFS: Final = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))

CLONE_NEWNS: Final = 0x00020000
MS_REC: Final = 0x4000
MS_PRIVATE: Final = 1 << 18


def find(libc: ctypes.CDLL) -> tuple[Path, bool]:
    """Return where tracefs is, and whether it had to be mounted.

    A mount is made in a mount namespace of this child alone: the host's mount table stays as it
    was, and nothing is left when the child ends.
    """
    for place in TRACEFS:
        try:
            if (place / "events" / "sched").is_dir():
                return place, False
        except PermissionError as error:
            raise LoadError(
                f"cannot read tracefs at {place}: {error.strerror}",
                "run as root, or give the agent CAP_DAC_READ_SEARCH",
            ) from error
    place = TRACEFS[0]
    if not place.is_dir():
        raise LoadError(
            f"tracefs is not mounted and {place} does not exist",
            "the kernel was built without tracing (CONFIG_TRACING), or /sys is not mounted",
        )
    if (
        libc.unshare(CLONE_NEWNS)
        or not _keep_to_itself(libc)
        or libc.mount(b"tracefs", os.fsencode(place), b"tracefs", 0, None)
    ):
        reason = os.strerror(ctypes.get_errno())
        raise LoadError(
            f"tracefs is not mounted and cannot be mounted at {place}: {reason}",
            f"mount it on the host: mount -t tracefs tracefs {place}; a pod needs a volume with "
            f"hostPath: {{path: {place}}} at that mountPath",
        )
    return place, True


def _keep_to_itself(libc: ctypes.CDLL) -> bool:
    """Let no mount below /sys show in other namespaces; tell whether that is so.

    /sys is the mount that tracefs goes onto; below a root that is no mount point itself, as in a
    chroot, it is also the only one of the two that can be told.
    """
    return any(
        libc.mount(b"none", place, None, MS_REC | MS_PRIVATE, None) == 0
        for place in (b"/sys", b"/")
    )


def read_formats(tracefs: Path, tracepoints: Iterable[str]) -> tuple[list[str], list[str], bool]:
    """Return the tracepoints there are, those there are not, and whether exits say group_dead."""
    present, missing, group_dead = [], [], False
    for tracepoint in tracepoints:
        category, name = tracepoint.split(":")
        try:
            text = (tracefs / "events" / category / name / "format").read_text()
        except FileNotFoundError:
            missing.append(tracepoint)
            continue
        except PermissionError as error:
            raise LoadError(
                f"cannot read the format of {tracepoint}: {error.strerror}",
                "run as root, or give the agent CAP_DAC_READ_SEARCH",
            ) from error
        present.append(tracepoint)
        group_dead |= " group_dead;" in text
    if not present:
        raise LoadError(
            f"none of {', '.join(tracepoints)} exists in {tracefs}",
            "the kernel was built without these tracepoints",
        )
    return present, missing, group_dead
