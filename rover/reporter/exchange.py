"""Telling the backend of entities: reports and beats over one connection, bad items set aside."""

from __future__ import annotations

import logging
import time
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from rover import metrics
from rover._proto.service import KEEP_ALIVE, REPORT_PROCESSES
from rover.config.layers import LAYERS_10_1, LAYERS_LATER
from rover.guard import Defect, Guard
from rover.model import PROPERTIES_LIMIT
from rover.reporter import messages
from rover.reporter.batches import Limits, Part, batches, deliver
from rover.reporter.failures import CallError, FailureKind, plain
from rover.reporter.limits import KEPT_FOR_OTHERS
from rover.reporter.roster import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rover.reporter.roster import Roster

log = logging.getLogger("rover.reporter")

MOST_UNITS: Final = PROPERTIES_LIMIT - KEPT_FOR_OTHERS
LEAST_UNITS: Final = 1_000
"""Properties are not cut below this, for whatever limit of the other side."""
MOST_REFUSED_ALONE: Final = 64
"""So many items refused one by one and none accepted: then it is not the items."""
LOOKED_AT_ONCE: Final = 64
"""Entities whose processes are looked at together."""
NAMED_AT_ONCE: Final = 10
"""Entities set aside together that are named each in the log."""
MOST_LAYERS_WARNED: Final = 100


class Call(Enum):
    """The two calls; the value is the word for logs and metrics."""

    REPORT = "report"
    BEAT = "beat"


PATHS: Final = {Call.REPORT: REPORT_PROCESSES, Call.BEAT: KEEP_ALIVE}


class Framed(NamedTuple):
    """An entity with the bytes that are sent of it."""

    entry: Entry
    frame: bytes

    def size(self) -> int:
        """Bytes it takes in the message, and at most in the answer, which repeats the entity."""
        return len(self.frame) + messages.ANSWER_OVERHEAD


class Exchange:
    """Sends what it is given and notes in the roster how each entity fared.

    Args:
        roster: Where entities are marked as known, beaten or refused.
        agent_id: Goes into each message.
        call: Makes one call over the present connection: path, message; raises CallError.
        most_beats: Beats after which a refused entity is tried again at the latest.
        pause: Seconds before an entity without an answer is reported again, by its tries so far.
        guard: Makes each entity's item, so that a defect sets aside that one alone.
    """

    def __init__(
        self,
        roster: Roster,
        agent_id: str,
        call: Callable[[str, bytes], bytes],
        most_beats: int,
        pause: Callable[[int], float],
        *,
        guard: Guard | None = None,
    ) -> None:
        self.limits = Limits()
        self.host_ip = ""
        self._roster = roster
        self._agent_id = agent_id
        self._call = call
        self._most_beats = most_beats
        self._pause = pause
        self._guard = guard or Guard()
        self._units = MOST_UNITS
        self._layers_warned: set[str] = set()

    def probe(self) -> None:
        """Ask whether the backend answers, by a beat for nobody.

        Raises:
            CallError: It does not.
        """
        self._empty(Call.BEAT)

    @property
    def probe_call(self) -> tuple[str, bytes]:
        """Path and message of a beat for nobody."""
        return PATHS[Call.BEAT], messages.listed((), self._agent_id)

    def announce(
        self, entries: Sequence[Entry], now: float, beat: int, *, trial: bool = False
    ) -> None:
        """Report entities and keep the ids from the answers; a trial expects refusals.

        Raises:
            CallError: For every failure that is no item's fault; what was answered is noted.
        """
        self._warn_of_layers({entry.report.entity.layer for entry in entries})
        framed = self._framed(
            self._looked_at(entries),
            lambda entry: messages.announcement(
                entry.report,
                self.host_ip,
                self._units,
                # a defect does not hide the entity
                supported=entry.supported is not False,
            ),
            beat,
        )
        silent: list[Entry] = []
        for part in self._delivered(Call.REPORT, framed, beat, trial=trial):
            silent += self._match(part.items, part.answer or b"", now)
        self._set_aside(silent, "the backend gives no answer for it", beat)

    def beat(self, entries: Sequence[Entry], beat: int, *, trial: bool = False) -> None:
        """Send a beat for entities; a trial expects refusals.

        Raises:
            CallError: For every failure that is no item's fault; what was accepted is noted.
        """
        framed = self._beats(entries, beat)
        for part in self._delivered(Call.BEAT, framed, beat, trial=trial):
            pardoned = [item.entry for item in part.items if item.entry.refusal]
            self._roster.beaten(item.entry for item in part.items)
            for entry in pardoned[:NAMED_AT_ONCE]:
                log.info("entity accepted again: %s", _named(entry))
            if commands := messages.commands(part.answer or b""):
                metrics.COMMANDS.inc(len(commands))
                log.debug("commands ignored: %s", plain(",".join(commands)))

    def _framed(
        self, entries: Iterable[Entry], make: Callable[[Entry], bytes], beat: int
    ) -> Iterator[Framed]:
        """Serialise items one by one; what no message can hold is set aside like a refused one."""
        for entry in entries:
            about = f"pid={entry.report.process.pid}"
            frame = self._guard.one("message", about, _frame, make, entry)
            if isinstance(frame, bytes):
                yield Framed(entry, frame)
            else:
                why = frame.what if isinstance(frame, Defect) else frame
                self._set_aside([entry], plain(f"fits into no message: {why}"), beat)

    def _beats(self, entries: Iterable[Entry], beat: int) -> Iterator[Framed]:
        """Give the items of a beat: those that are there already, and those that are made now."""
        for entry in entries:
            if entry.beat:
                yield Framed(entry, entry.beat)
            else:
                yield from self._framed((entry,), Entry.beat_frame, beat)

    def _looked_at(self, entries: Sequence[Entry]) -> Iterator[Entry]:
        """Look whether entities' processes can be profiled, some at once, and give all."""
        for first in range(0, len(entries), LOOKED_AT_ONCE):
            some = entries[first : first + LOOKED_AT_ONCE]
            if self._fails_to_look(some):
                for entry in some:  # it is one of them: the others have their answer
                    self._fails_to_look([entry])
            yield from some

    def _fails_to_look(self, entries: Sequence[Entry]) -> bool:
        about = f"pid={entries[0].report.process.pid}" if len(entries) == 1 else "several"
        done = self._guard.one("profiling support", about, self._roster.look, entries)
        return isinstance(done, Defect)

    def _delivered(
        self, call: Call, framed: Iterable[Framed], beat: int, *, trial: bool
    ) -> Iterator[Part[Framed, bytes]]:
        """Send items batch by batch, give the accepted parts, set the refused items aside."""
        bad_layers: dict[str, CallError] = {}
        accepted = trial
        refused: list[Entry] = []
        for batch in batches(framed, Framed.size, self.limits):
            for part in deliver(
                batch,
                lambda items: self._send(call, items),
                lambda: self._empty(call),
                lambda item: bad_layers.get(item.entry.report.entity.layer),
            ):
                if part.failure is None:
                    accepted = True
                    yield part
                    continue
                if call is Call.REPORT and self._cut_shorter(part.failure):
                    continue
                entry = part.items[0].entry
                if (layer := entry.report.entity.layer) not in LAYERS_10_1:
                    bad_layers[layer] = part.failure
                elif not accepted and len(refused) + 1 >= MOST_REFUSED_ALONE:
                    for innocent in refused:
                        self._roster.pardon(innocent)
                    raise CallError(
                        FailureKind.BROKEN, f"every item is refused: {part.failure.detail}"
                    )
                refused.append(entry)
                self._set_aside([entry], str(part.failure), beat, named=len(refused))
        if len(refused) > NAMED_AT_ONCE:
            log.warning("entities set aside: count=%d call=%s", len(refused), call.value)

    def _cut_shorter(self, failure: CallError) -> bool:
        """Leave less room for properties where one item alone is too large; false at the end."""
        if failure.kind is not FailureKind.TOO_LARGE or self._units <= LEAST_UNITS:
            return False
        self._units //= 2
        log.info("properties are cut shorter: json_units=%d reason=%r", self._units, str(failure))
        return True

    def _send(self, call: Call, items: list[Framed]) -> bytes:
        message = messages.listed((item.frame for item in items), self._agent_id)
        try:
            answer = self._call(PATHS[call], message)
        except CallError as error:
            metrics.REPORTS.labels(call.value, error.kind.value).inc()
            if error.kind is FailureKind.TOO_LARGE:
                self.limits = self.limits.below(len(message))
            elif error.kind is FailureKind.TIMEOUT:
                self.limits = self.limits.halved()
            raise
        metrics.REPORTS.labels(call.value, "ok").inc()
        metrics.SENT_ENTITIES.labels(call.value).inc(len(items))
        metrics.SENT_BYTES.labels(call.value).inc(len(message))
        return answer

    def _empty(self, call: Call) -> None:
        """Call with no item, to see whether the backend answers at all."""
        try:
            self._call(PATHS[call], messages.listed((), self._agent_id))
        except CallError as error:
            if error.kind in (FailureKind.ITEM, FailureKind.TOO_LARGE):
                raise CallError(FailureKind.BROKEN, error.detail) from error
            raise

    def _match(self, items: list[Framed], answer: bytes, now: float) -> list[Entry]:
        """Find each answered id's entity by pid and names; give those silent for too long."""
        asked = {messages.told(item.entry.report): item.entry for item in items}
        at = time.monotonic()
        try:
            for told, process_id in messages.answers(answer):
                entry = asked.get(told)
                if entry is not None:
                    self._roster.answered(entry, process_id, at)
                    if process_id:
                        del asked[told]
        except ValueError as error:
            raise CallError(FailureKind.BROKEN, str(error)) from error
        return [
            entry
            for entry in asked.values()
            if self._roster.unanswered(entry, now, self._pause) and not entry.known
        ]

    def _set_aside(
        self, entries: Iterable[Entry], reason: str, beat: int, *, named: int = 0
    ) -> None:
        for number, entry in enumerate(entries, named):
            if self._roster.refuse(entry, reason, beat, self._most_beats):
                level = logging.WARNING if number <= NAMED_AT_ONCE else logging.DEBUG
                log.log(level, "entity set aside: %s reason=%r", _named(entry), reason)

    def _warn_of_layers(self, layers: set[str]) -> None:
        """Say once of each layer that OAP 10.1 does not know; the backend may be newer."""
        for layer in sorted(layers - LAYERS_10_1 - self._layers_warned):
            if len(self._layers_warned) < MOST_LAYERS_WARNED:
                self._layers_warned.add(layer)
                since = "known to later ones" if layer in LAYERS_LATER else "check its spelling"
                log.warning("layer unknown to OAP 10.1: layer=%r (%s)", plain(layer), since)


def _frame(make: Callable[[Entry], bytes], entry: Entry) -> bytes | str:
    """Make an entity's item; return why where none can be made."""
    try:
        return make(entry)
    except (ValueError, TypeError) as error:
        return str(error)


def _named(entry: Entry) -> str:
    entity = entry.report.entity
    return plain(
        f"layer={entity.layer!r} service={entity.service!r} instance={entity.instance!r} "
        f"process={entity.process!r} pid={entry.report.process.pid}"
    )
