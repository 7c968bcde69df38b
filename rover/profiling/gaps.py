"""What profiles lack on this host for want of a right, and which right that is.

Each was measured by taking it away from an agent of another user: the rest goes on without it.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from rover.capabilities import READ_ANY_FILE, own_capabilities, remedy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# bits of include/uapi/linux/capability.h; one of them is enough
OPEN_MAPPED_FILES: Final = {"CHECKPOINT_RESTORE": 40, "SYS_ADMIN": 21}
"""For /proc/PID/map_files; the first since Linux 5.9."""
SEE_KERNEL_ADDRESSES: Final = {"SYSLOG": 34}

KALLSYMS: Final = Path("/proc/kallsyms")
KPTR_RESTRICT: Final = Path("/proc/sys/kernel/kptr_restrict")
HIDDEN_FROM_ALL: Final = 2
"""kernel.kptr_restrict that hides the kernel's addresses from whoever asks (Documentation/
admin-guide/sysctl/kernel.rst)."""
MOST_LINES: Final = 20_000
_ADDRESS_DIGITS: Final = 16


class Gap(NamedTuple):
    """Something that a profile lacks."""

    subject: str
    lacks: str
    remedy: str


def own_gaps() -> list[Gap]:
    """Tell what profiles of this process lack."""
    try:
        level = int(KPTR_RESTRICT.read_text(encoding="ascii"))
    except (OSError, ValueError):
        level = 0
    try:
        with KALLSYMS.open("rb") as file:
            first = first_function(itertools.islice(file, MOST_LINES))
    except OSError:
        first = b""
    return list(gaps(own_capabilities(), first, level))


def first_function(lines: Iterable[bytes]) -> bytes:
    """Return the first line about a function; empty where there is none.

    Before Linux 6.15 data of the CPUs stand before, the first of them at address 0.
    """
    return next((line for line in lines if line[17:18] in {b"T", b"t"}), b"")


def gaps(effective: int, function: bytes, kptr_restrict: int) -> Iterator[Gap]:
    """Tell what profiles lack.

    Args:
        effective: capabilities of who samples, a bit each.
        function: a line of /proc/kallsyms as it is shown there; empty where there is none.
        kptr_restrict: of the kernel.
    """
    if not any(effective >> bit & 1 for bit in OPEN_MAPPED_FILES.values()):
        yield Gap(
            "mapped files",
            "names and whole stacks where a file with code was deleted or replaced since it was "
            "mapped, or lies on a file system that is not known to be local",
            remedy(effective, OPEN_MAPPED_FILES),
        )
    if not any(effective >> bit & 1 for bit in READ_ANY_FILE.values()):
        yield Gap(
            "executables",
            "names and whole stacks of files with code that not every user may read",
            remedy(effective, READ_ANY_FILE),
        )
    if function[:_ADDRESS_DIGITS].strip(b"0"):
        return
    if kptr_restrict >= HIDDEN_FROM_ALL:
        mend = f"kernel.kptr_restrict is {kptr_restrict}: sysctl kernel.kptr_restrict=1 on the host"
    else:
        mend = remedy(effective, SEE_KERNEL_ADDRESSES)
    yield Gap("kernel's functions", "names of the kernel's functions", mend)
