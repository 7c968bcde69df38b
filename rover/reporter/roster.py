"""What the backend should know, and how much of it it does; belongs to the session's thread."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from rover.errors import RoverError
from rover.reporter import messages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rover.model import EntityKey, Process, Report

    Supports = Callable[[Sequence[Process]], Sequence[bool]]

T = TypeVar("T")

HASH_DIGITS: Final = 64
HEX_DIGITS: Final = frozenset("0123456789abcdef")
TRIES_UNANSWERED: Final = 10
"""Reports of an entity that bring no answer for it, before it waits for the next full report."""


def supports_none(processes: Sequence[Process]) -> list[bool]:
    """Say of each that it cannot be profiled."""
    return [False] * len(processes)


def kept_form(process_id: str) -> bytes | str:
    """Give an id as an `Entry` keeps it."""
    is_hash = len(process_id) == HASH_DIGITS and HEX_DIGITS.issuperset(process_id)
    return bytes.fromhex(process_id) if is_hash else process_id


@dataclass(slots=True)
class Refusal:
    """Why an entity is set aside, and when it is tried again."""

    reason: str
    tries: int
    at_beat: int
    """Number of the beat with which it is tried again."""


@dataclass(slots=True, eq=False)
class Entry:
    """One live entity."""

    key: EntityKey
    report: Report
    beat: bytes = b""
    """The item of a beat, serialised; made when it is first needed."""
    kept_id: bytes | str = ""
    """The backend's id; of the usual hash the bytes, which take half the room of its text."""
    known: bool = False
    """The backend has answered for it on this connection, so it may beat."""
    supported: bool | None = None
    """Whether the process can be profiled; None before it was looked at."""
    beaten: bool = False
    """At least one beat on this connection."""
    answered_at: float = 0.0
    """When the backend answered a report of it last, monotonic seconds; 0 for never. All entities
    of a message share one number, as with the next."""
    beaten_at: float = 0.0
    """When the backend accepted a beat for it last."""
    unanswered: int = 0
    """Reports in a row that brought no id for it."""
    retry_at: float = 0.0
    """Not reported before this time, monotonic seconds."""
    refusal: Refusal | None = None

    @property
    def process_id(self) -> str:
        """The id that the backend gave, empty before."""
        return self.kept_id.hex() if isinstance(self.kept_id, bytes) else self.kept_id

    @process_id.setter
    def process_id(self, text: str) -> None:
        self.kept_id = kept_form(text)

    def beat_frame(self) -> bytes:
        """Give the item of a beat, the same bytes until the entity changes."""
        if not self.beat:
            self.beat = messages.beat(self.report.entity, supported=self.supported is not False)
        return self.beat


class Roster:
    """All live entities by key; of one thread.

    Args:
        supports: Tells of each process whether it can be profiled.
    """

    def __init__(self, supports: Supports = supports_none) -> None:
        self._supports = supports
        self.entries: dict[EntityKey, Entry] = {}
        self.due: dict[EntityKey, None] = {}
        """Keys whose report is to be sent, in the order in which they became due."""
        self.fresh: dict[EntityKey, Entry] = {}
        """What is reported and has not beaten since, also where it has ended meanwhile: without a
        beat the backend has no instance for it."""
        self.refused: dict[EntityKey, None] = {}

    def __contains__(self, key: EntityKey) -> bool:
        return key in self.entries

    def __len__(self) -> int:
        return len(self.entries)

    def look(self, entries: Iterable[Entry]) -> None:
        """Look which of these entities' processes can be profiled, once a report.

        Where that fails they are said to be: the server takes the first word for ever, and a task
        in vain costs less than one that nobody can ever set.
        """
        new = [entry for entry in entries if entry.supported is None]
        if not new:
            return
        try:
            told = self._supports([entry.report.process for entry in new])
        except RoverError:
            told = [True] * len(new)
        for entry, supported in zip(new, told, strict=True):
            entry.supported, entry.beat = supported, b""

    def put(self, report: Report) -> None:
        """Take in a new entity, or other facts about a known one."""
        key = report.entity.key
        entry = self.entries.get(key)
        if entry is None:
            self.entries[key] = Entry(key, report)
        else:
            if entry.report.entity != report.entity:
                entry.beat = b""
                self.pardon(entry)
            elif entry.refusal:
                entry.refusal.at_beat = 0
            if entry.report.process != report.process:
                entry.supported = None
            entry.report = report
            entry.unanswered, entry.retry_at = 0, 0.0
        self.due[key] = None

    def drop(self, key: EntityKey) -> None:
        """Forget an entity: it gets no beats after its first, which is all the backend is told."""
        if entry := self.entries.pop(key, None):
            _take_out(self.due, key)
            self.refused.pop(key, None)
            if entry.refusal:
                self._owe_no_beat(entry)

    def renew(self) -> None:
        """Forget what the backend knows: it may be another one, or have lost its memory."""
        for entry in self.entries.values():
            entry.known = entry.beaten = False
        self.fresh.clear()
        self.all_due()

    def all_due(self) -> None:
        """Have everything reported again, also what was set aside or not answered."""
        for entry in self.entries.values():
            entry.unanswered, entry.retry_at = 0, 0.0
            self.due[entry.key] = None

    def due_at(self, now: float) -> list[Entry]:
        """Give the entities to report now; those set aside are not among them."""
        entries = map(self.entries.__getitem__, self.due)
        return [entry for entry in entries if entry.retry_at <= now and not entry.refusal]

    def next_due(self) -> float:
        """Tell when a report is due next, infinity where none is."""
        entries = map(self.entries.__getitem__, self.due)
        return min((entry.retry_at for entry in entries if not entry.refusal), default=float("inf"))

    def to_beat(self, *, only_fresh: bool) -> list[Entry]:
        """Give the entities that beat: all that the backend knows, or those that never did."""
        entries = list(self.fresh.values())
        if not only_fresh:
            entries = [entry for entry in entries if entry.key not in self.entries]
            entries += self.entries.values()
        return [entry for entry in entries if entry.known and not entry.refusal]

    def refused_at(self, beat: int, *, everyone: bool) -> list[Entry]:
        """Give the set-aside entities whose turn comes with this beat, or all of them."""
        entries = map(self.entries.__getitem__, self.refused)
        return [
            entry
            for entry in entries
            if entry.refusal and (everyone or entry.refusal.at_beat <= beat)
        ]

    def answered(self, entry: Entry, process_id: str, now: float = 0.0) -> None:
        """Note that the backend knows the entity; without an id it is asked for one again."""
        entry.known = True
        entry.answered_at = now
        if not entry.beaten:
            self.fresh[entry.key] = entry
        if process_id:
            entry.process_id = process_id
            entry.unanswered = 0
            _take_out(self.due, entry.key)

    def unanswered(self, entry: Entry, now: float, pause: Callable[[int], float]) -> bool:
        """Note that a report brought no id; tell whether that was the last try for now."""
        entry.unanswered += 1
        if entry.unanswered >= TRIES_UNANSWERED:
            _take_out(self.due, entry.key)
            return True
        entry.retry_at = now + pause(entry.unanswered - 1)
        return False

    def beaten(self, entries: Iterable[Entry]) -> None:
        """Note that a beat for them was accepted; nothing is set aside any longer that beats."""
        now = time.monotonic()
        for entry in entries:
            entry.beaten_at = now
            if not entry.beaten:
                entry.beaten = True
                self._owe_no_beat(entry)
            if entry.refusal:
                self.pardon(entry)

    def refuse(self, entry: Entry, reason: str, beat: int, most_beats: int) -> bool:
        """Set an entity aside, for twice as many beats each time; tell whether that is new."""
        new = entry.refusal is None
        tries = entry.refusal.tries + 1 if entry.refusal else 0
        entry.refusal = Refusal(reason, tries, beat + min(1 << min(tries, 30), most_beats))
        if self.entries.get(entry.key) is entry:
            self.refused[entry.key] = None
        else:  # it has ended: nothing is tried again
            self._owe_no_beat(entry)
        return new

    def pardon(self, entry: Entry) -> None:
        """Take an entity back among the others."""
        entry.refusal = None
        self.refused.pop(entry.key, None)

    def _owe_no_beat(self, entry: Entry) -> None:
        if self.fresh.get(entry.key) is entry:  # and not the next one with its key
            _take_out(self.fresh, entry.key)


def _take_out(keys: dict[EntityKey, T], key: EntityKey) -> None:
    keys.pop(key, None)
    if not keys:
        keys.clear()  # gives back the room of all that there were at once, which pop does not
