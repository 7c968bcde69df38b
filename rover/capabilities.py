"""What to do where the kernel keeps facts of processes back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from rover.config.settings import IN_CLUSTER

# bits of include/uapi/linux/capability.h; one of them is enough
READ_ANY_FILE: Final = {"DAC_READ_SEARCH": 2, "DAC_OVERRIDE": 1}
LOOK_INTO_ANY_PROCESS: Final = {"SYS_PTRACE": 19}


def remedy(effective: int, *needed: dict[str, int]) -> str:
    """Say what lets an agent read what was denied to it.

    Args:
        effective: its capabilities, a bit each.
        needed: alternatives of which it must have one, by name with their bit, the least one first.
    """
    missing = [
        next(iter(each))
        for each in needed
        if not any(effective >> bit & 1 for bit in each.values())
    ]
    if missing:
        return (
            f"missing {', '.join('CAP_' + name for name in missing)}: run as root, or in a pod add "
            f"securityContext.capabilities.add: [{', '.join(missing)}]"
        )
    policy = (
        "the agent has the capabilities for it; a policy of the host, such as AppArmor's or "
        "SELinux's, may forbid it, or its user namespace own less than the host"
    )
    if IN_CLUSTER not in os.environ:
        return f"{policy}: the kernel's log may say which"
    return (
        f"{policy}: try securityContext.appArmorProfile: {{type: Unconfined}} and "
        "securityContext.seLinuxOptions: {type: spc_t}"
    )


def hidepid(mountinfo: str, effective: int) -> str:
    """Tell the hidepid= under which /proc hides others' processes, "" where it hides none.

    Args:
        mountinfo: lines of /proc/self/mountinfo.
        effective: the agent's capabilities, a bit each.
    """
    if effective >> LOOK_INTO_ANY_PROCESS["SYS_PTRACE"] & 1:
        return ""
    found = ""
    for line in mountinfo.splitlines():
        mount, _, source = line.partition(" - ")
        if mount.split(" ")[4:5] == ["/proc"]:
            # the latest mount on a point covers those before
            options = source.rpartition(" ")[2].split(",")
            found = next((each for each in options if each.startswith("hidepid=")), "")
    return "" if found in {"hidepid=0", "hidepid=off"} else found


def own_capabilities() -> int:
    """Return this process's effective capabilities, a bit each."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return int(status.partition("CapEff:")[2].split()[0], 16)
