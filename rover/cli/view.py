"""What the live view knows: rows made of the backend's changes, and the lines that tell of them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from rover.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rover.backend import Change, StoredProcess
    from rover.model import Changes, EntityKey

FORGET_AFTER: Final = 10.0
"""Seconds that a process which is gone stays in the view."""
COMMAND_KEPT: Final = 300
"""Characters of a command line."""
WITHDRAWN_KEPT: Final = 10_000
"""Entities remembered as withdrawn although the backend has not heard of them yet."""


@dataclass(slots=True)
class Row:
    """One process in the view; times are time.monotonic()."""

    key: EntityKey
    service: str
    instance: str
    process: str
    command: str
    pid: int | None
    since: float
    """When its pid became known, or itself where no pid is known."""
    beat_at: float | None
    seen_at: float
    """The last report or beat."""
    gone_at: float | None = None

    def __str__(self) -> str:
        return f"{self.service}/{self.instance}/{self.process} pid={self.pid or '?'}"


class View:
    """The rows of the view; one thread at a time.

    A process is gone when it has not been heard of for ``gone_after`` seconds, or at once when the
    agent beside the backend says that nothing leads its entity any longer.
    """

    def __init__(self, gone_after: float) -> None:
        self._gone_after = gone_after
        self._rows: dict[str, Row] = {}
        """By process id; those that came, went or changed their pid last stand last."""
        self._identities: dict[EntityKey, str] = {}
        self._gone: set[str] = set()
        self._withdrawn: dict[EntityKey, None] = {}

    def backend_changed(self, changes: Iterable[Change]) -> Iterator[str]:
        """Take over what a call changed; give a line for each process that came or went."""
        for change in changes:
            if change.what == "forgotten":
                yield from self._forget(change.process.id)
            else:
                yield from self.heard(change.process)

    def heard(self, process: StoredProcess) -> Iterator[str]:
        """Take over one process as the backend holds it now."""
        identity = process.id
        row = self._rows.get(identity)
        if row is None:
            row = self._rows[identity] = _row(process)
            self._identities[row.key] = identity
            yield f"+ {row}"
            if row.key in self._withdrawn:
                yield self._went(identity, row.seen_at)
            return
        if row.key.layer != process.entity.layer:
            # the server tells processes apart without their layer
            self._identities.pop(row.key, None)
            row.key = process.entity.key
            self._identities[row.key] = identity
        former = row.pid
        row.pid = process.pid
        row.command = _command(process)
        row.beat_at = process.last_ping and process.last_ping.monotonic
        row.seen_at = process.last_seen.monotonic
        if former != row.pid:
            row.since = (process.pid_since or process.first_seen).monotonic
            self._to_end(identity)
        if row.gone_at is not None:
            if row.key not in self._withdrawn:
                row.gone_at = None
                self._gone.discard(identity)
                self._to_end(identity)
                yield f"+ {row}"
        elif former != row.pid:
            yield f"~ {row}" + (f" (was {former})" if former else "")

    def agent_changed(self, changes: Changes, now: float) -> Iterator[str]:
        """Take over what the agent's own table says: it knows at once that a process ended."""
        for report in changes.announced:
            self._withdrawn.pop(report.entity.key, None)
        for key in changes.withdrawn:
            self._withdrawn[key] = None
            identity = self._identities.get(key)
            if identity is not None and identity not in self._gone:
                yield self._went(identity, now)
        while len(self._withdrawn) > WITHDRAWN_KEPT:
            del self._withdrawn[next(iter(self._withdrawn))]

    def pass_time(self, now: float) -> Iterator[str]:
        """Look for processes that are not heard of any longer; give a line for each."""
        silent = [
            identity
            for identity, row in self._rows.items()
            if now - row.seen_at > self._gone_after and row.gone_at is None
        ]
        for identity in silent:
            yield self._went(identity, now)
        for identity in tuple(self._gone):
            if now - (self._rows[identity].gone_at or now) > FORGET_AFTER:
                self._drop(identity)

    def counts(self) -> tuple[int, int]:
        """How many are there, and how many are gone."""
        return len(self._rows) - len(self._gone), len(self._gone)

    def live(self, begin: int, limit: int) -> list[Row]:
        """Give rows of what is there, the latest to come or change its pid first.

        Args:
            begin: rows to pass over.
            limit: rows at most.
        """
        there = (row for row in reversed(self._rows.values()) if row.gone_at is None)
        return list(islice(there, begin, begin + limit))

    def ended(self, limit: int) -> list[Row]:
        """Give the rows that are gone, at most so many, the latest first."""
        gone = [self._rows[identity] for identity in self._gone]
        return sorted(gone, key=lambda row: (-(row.gone_at or 0.0), row.key))[:limit]

    def _went(self, identity: str, now: float) -> str:
        row = self._rows[identity]
        row.gone_at = now
        self._gone.add(identity)
        self._to_end(identity)
        return f"- {row}"

    def _forget(self, identity: str) -> Iterator[str]:
        row = self._drop(identity)
        if row is not None and row.gone_at is None:
            yield f"- {row} (the backend lost its memory)"

    def _drop(self, identity: str) -> Row | None:
        row = self._rows.pop(identity, None)
        self._gone.discard(identity)
        if row is not None:
            self._identities.pop(row.key, None)
        return row

    def _to_end(self, identity: str) -> None:
        self._rows[identity] = self._rows.pop(identity)


def _row(process: StoredProcess) -> Row:
    return Row(
        key=process.entity.key,
        service=printable(process.entity.service),
        instance=printable(process.entity.instance),
        process=printable(process.entity.process),
        command=_command(process),
        pid=process.pid,
        since=(process.pid_since or process.first_seen).monotonic,
        beat_at=process.last_ping and process.last_ping.monotonic,
        seen_at=process.last_seen.monotonic,
    )


def _command(process: StoredProcess) -> str:
    return printable(process.properties.get("command_line", "")[:COMMAND_KEPT])
