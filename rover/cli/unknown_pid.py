"""What may be behind a pid that is none of a process that the agent knows."""

from __future__ import annotations

from pathlib import Path


def hint(pid: int) -> str:
    """Say what /proc has by this number; to be put behind what is missed."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        return "; there is no such process in /proc"
    tgid = next((line.split()[1] for line in status.splitlines() if line.startswith("Tgid:")), "")
    if tgid and int(tgid) != pid:
        return f"; it is a thread of process {tgid}: ask for that one"
    return (
        "; /proc has it: it may have just started (process_discovery.settle_time), or be the first "
        "stage of a container's runtime"
    )
