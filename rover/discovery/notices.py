"""What discovery says in the log of things it cannot see, or did not in time; each once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from rover.capabilities import LOOK_INTO_ANY_PROCESS, hidepid, own_capabilities, remedy

if TYPE_CHECKING:
    from rover.discovery.counts import Figures
    from rover.discovery.procfs import ProcReader

log = logging.getLogger("rover.discovery")


class Notices:
    """What was said so far."""

    def __init__(self, reader: ProcReader) -> None:
        """Say nothing yet.

        Args:
            reader: knows what access rights kept back.
        """
        self._reader = reader
        self._lost = (0, 0, 0, 0)
        self._hidden: set[str] = set()

    def of_losses(self, figures: Figures) -> None:
        """Say what was lost since the last time."""
        lost = (figures.lost_pending, figures.lost_events, figures.skipped, figures.unfollowed)
        log.warning(
            "events lost pending_full=%d ring_full=%d skipped=%d not_followed=%d; "
            "this reconcile heals it",
            *(now - before for now, before in zip(lost, self._lost, strict=True)),
        )
        self._lost = lost

    def of_files_kept_back(self) -> None:
        """Say which files cannot be read, where there are more kinds of them than before."""
        unreadable = self._reader.unreadable
        if unreadable.files <= self._hidden:
            return
        self._hidden |= unreadable.files
        log.warning(
            "/proc keeps back files=%s times=%d; processes are reported with fewer facts; %s",
            ",".join(sorted(unreadable.files)),
            unreadable.times,
            remedy(own_capabilities(), LOOK_INTO_ANY_PROCESS),
        )

    def of_hidden_processes(self) -> None:
        """Say so where /proc is mounted to hide other users' processes."""
        effective = own_capabilities()
        if option := hidepid(self._reader.mounts(), effective):
            log.warning(
                "/proc is mounted with %s: processes of other users may be missing; %s",
                option,
                remedy(effective, LOOK_INTO_ANY_PROCESS),
            )
