"""Say once in the log which rule fails to name a process, however many processes it fails on."""

from __future__ import annotations

import logging
from typing import Final

log = logging.getLogger("rover.discovery")

MOST: Final = 50
"""Rules and keys told of; a configuration of more broken ones is known to be broken by then."""


class Complaints:
    """What a finder or an analyzer failed on so far."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str]] = set()

    def note(self, rule: str, failure: str, pid: int) -> None:
        """Warn of a failure, unless that rule's same key has failed before.

        Args:
            rule: the finder or analyzer, as a user knows it.
            failure: begins with the failing key, up to a colon; the rest may differ by process.
            pid: the process that it failed on.
        """
        told = (rule, failure.partition(":")[0])
        if told in self._told or len(self._told) >= MOST:
            return
        self._told.add(told)
        log.warning(
            "%s fails, on pid %d first: %s; such processes are not reported by it, "
            "`rover ps` shows them all",
            rule,
            pid,
            failure,
        )
