"""The seam between threads: others put changes in, the session takes them out into its roster."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from rover.guard import Guard
from rover.reporter.roster import kept_form

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rover.model import Changes, EntityKey, Report
    from rover.reporter.roster import Entry, Roster


class Outbox:
    """The newest word on each changed entity, and nothing else.

    It holds no more than the live entities and those that the session must hear of being gone.
    """

    def __init__(self, roster: Roster, guard: Guard | None = None) -> None:
        self._roster = roster
        self._guard = guard or Guard()
        self._changed: dict[EntityKey, Report | None] = {}
        self._condition = threading.Condition()
        self._listening = False
        self._nudged = False

    def __len__(self) -> int:
        return len(self._changed)

    def put(self, changes: Changes) -> None:
        """Add changes, from any thread; what comes and goes before it is taken leaves no trace.

        The session is not woken for what is only gone: there is nothing to tell of it.
        """
        with self._condition:
            for key in changes.withdrawn:
                if key in self._roster:
                    self._changed[key] = None
                else:
                    self._changed.pop(key, None)
            for report in changes.announced:
                self._changed[report.entity.key] = report
            if self._listening and changes.announced:
                self._condition.notify()

    def nudge(self) -> None:
        """End the wait that is on, or the next one."""
        with self._condition:
            self._nudged = True
            self._condition.notify()

    def wait(self, seconds: float, *, for_changes: bool) -> None:
        """Sleep at most so long; a nudge ends it, and a change where that is asked for."""
        with self._condition:
            self._listening = for_changes
            if not self._nudged and not (for_changes and self._changed):
                self._condition.wait(min(seconds, threading.TIMEOUT_MAX))
            self._listening = self._nudged = False

    def empty_into_roster(self) -> None:
        """Hand all changes over to the roster; the session's thread alone calls this."""
        if not self._changed:
            return
        with self._condition:
            changed, self._changed = self._changed, {}
            for key, report in changed.items():
                name = "/".join(key)
                if report is None:
                    self._guard.one("roster", name, self._roster.drop, key)
                else:
                    self._guard.one("roster", name, self._roster.put, report)

    def entries(self) -> list[Entry]:
        """Give the roster's entries as of now, for a thread other than the session's."""
        with self._condition:
            return list(self._roster.entries.values())

    def entry(self, key: EntityKey) -> Entry | None:
        """Give one entry, for a thread other than the session's."""
        return self._roster.entries.get(key)

    def entities_of(self, process_ids: Iterable[str]) -> dict[str, EntityKey]:
        """Find the entities with these ids, for a thread other than the session's."""
        wanted = {kept_form(each): each for each in process_ids}
        # of 10,000 entities a few are asked for: their ids are compared as they are kept
        return {
            wanted[entry.kept_id]: entry.key
            for entry in self.entries()
            if entry.kept_id and entry.kept_id in wanted
        }
