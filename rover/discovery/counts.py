"""What a census has done, as plain counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Figures:
    """What the census has done since it began; plain counts, read by the metrics."""

    settled: int = 0
    """Processes that came through the kernel's settling."""
    vanished: int = 0
    """Of these, gone before /proc could be read, or a container runtime's own stage."""
    exits: int = 0
    execs: int = 0
    """Processes known already whose image changed."""
    unfollowed: int = 0
    """Not followed for want of room; their exits are found by the reconcile."""
    lost_pending: int = 0
    lost_events: int = 0
    skipped: int = 0
    """Events that the kernel kept from the programs."""
    reconciles: int = 0
    deep_reconciles: int = 0
    repairs_new: int = 0
    """Processes that the reconcile found and no event had told of."""
    repairs_gone: int = 0
    repairs_changed: int = 0
