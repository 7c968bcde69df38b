"""Writes the same event once, and in the end how often it came again."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

WITHIN: Final = 60.0
"""Seconds after an event in which its like is counted and not written."""
TIMER: Final = "log-repeats"
"""Name of the thread that there is while something is summed up."""
MOST_KEPT: Final = 256
"""Events that are remembered; of more, the oldest is told and forgotten."""
PID: Final = re.compile(r"\b(pid[= ]|process )([0-9]{1,10})(?![0-9])")
"""Of a message: what befalls many processes is one event, for whatever it befalls."""
PIDS_TOLD: Final = 8
"""Other processes that a sum names."""


@dataclass(frozen=True, slots=True)
class Repetition:
    """How often an event came again."""

    times: int
    seconds: float
    """In so many, since it was written last."""
    pids: tuple[int, ...] = ()
    """Other processes than the one named, which it was told of; the first `PIDS_TOLD`."""

    @staticmethod
    def of(record: logging.LogRecord) -> Repetition | None:
        """Return what a record sums up; None where it is an event of its own."""
        return getattr(record, "repetition", None)

    def __str__(self) -> str:
        told = f"{self.times} more time{'s' * (self.times > 1)} in {self.seconds:.0f} s"
        if not self.pids:
            return told
        others = [*map(str, self.pids), *["…"] * (len(self.pids) == PIDS_TOLD)]
        return f"{told}, of pid {', '.join(others)} too"


@dataclass(slots=True)
class _Written:
    record: logging.LogRecord
    at: float
    pids: frozenset[int]
    """That it names."""
    again: int = 0
    others: list[int] = field(default_factory=list)
    """That its like named since, as far as they are told."""

    def repeated(self, pids: frozenset[int]) -> None:
        """Count its like."""
        self.again += 1
        new = pids - self.pids - {*self.others}
        self.others += sorted(new)[: PIDS_TOLD - len(self.others)]


class Summing(logging.StreamHandler[TextIO]):
    """A handler for standard error that sums up what is repeated, word for word but for pids.

    What is written for debugging is written as it comes. A sum is told by a timer, which there is
    only while something is summed up, and at the end.
    """

    def __init__(
        self,
        within: float = WITHIN,
        clock: Callable[[], float] = time.monotonic,
        stream: TextIO | None = None,
    ) -> None:
        """Begin.

        Args:
            within: seconds after an event in which its like is counted.
            clock: gives seconds that only grow.
            stream: is written to; None: standard error.
        """
        super().__init__(stream)
        self._within = within
        self._clock = clock
        self._written: OrderedDict[tuple[str, int, str], _Written] = OrderedDict()
        self._timer: threading.Timer | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write an event, or count it where its like was written a moment ago."""
        if record.levelno <= logging.DEBUG:
            super().emit(record)
            return
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - a message that cannot be made: as logging has it
            self.handleError(record)
            return
        key = (record.name, record.levelno, PID.sub(r"\1", message))
        pids = frozenset(int(found[2]) for found in PID.finditer(message))
        self._tell_due()
        if known := self._written.get(key):
            known.repeated(pids)
            self._have_told_later()
            return
        super().emit(record)
        self._written[key] = _Written(record, self._clock(), pids)
        if len(self._written) > MOST_KEPT:
            self._tell(self._written.popitem(last=False)[1])

    def tell_due(self) -> None:
        """Tell the sums whose time is over; from any thread."""
        with self._locked():
            self._timer = None
            self._tell_due()
            if any(written.again for written in self._written.values()):
                self._have_told_later()

    def close(self) -> None:
        """Tell all that is left."""
        with self._locked():
            if self._timer:
                self._timer.cancel()
            while self._written:
                self._tell(self._written.popitem()[1])
        super().close()

    def _locked(self) -> threading.RLock:
        assert self.lock is not None  # noqa: S101 - of each handler, by its base class
        return self.lock

    def _tell_due(self) -> None:
        """Tell and forget, oldest first, what was written so long ago; what goes on is kept."""
        now = self._clock()
        while self._written:
            key, oldest = next(iter(self._written.items()))
            if now - oldest.at < self._within:
                return
            del self._written[key]
            if oldest.again:
                self._tell(oldest)
                self._written[key] = _Written(oldest.record, now, oldest.pids)

    def _tell(self, written: _Written) -> None:
        if not written.again:
            return
        like = written.record
        record = logging.LogRecord(
            like.name, like.levelno, like.pathname, like.lineno, like.msg, like.args, None
        )
        seconds = round(self._clock() - written.at)
        record.repetition = Repetition(written.again, seconds, tuple(written.others))
        super().emit(record)

    def _have_told_later(self) -> None:
        if self._timer is None:
            self._timer = threading.Timer(self._within, self.tell_due)
            self._timer.name, self._timer.daemon = TIMER, True
            self._timer.start()
