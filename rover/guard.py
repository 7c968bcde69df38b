"""A step that what others wrote may make fail: the failure costs that step alone, and is told.

A thread that all processes depend on runs what concerns one process, one object or one question by
`Guard.one`, and each step of its own by `Guard.whole`. Whatever exception comes out is a defect of
the agent: it is counted, named in the log and handed back as a record, and the thread goes on. A
step of the thread itself that fails time and again is an illness, which health tells.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, ParamSpec, TypeVar

from rover import metrics
from rover.redaction import without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

log = logging.getLogger("rover.defects")

P = ParamSpec("P")
T = TypeVar("T")

TOLD_EACH: Final = 3
"""Subjects that are named for one place in the code; whoever brings out one defect again and again
must not hide another."""
PLACES_TOLD: Final = 200
"""Places in the code that are named at all."""
WHAT_LENGTH: Final = 200
"""Characters of an exception's own words: they may repeat what a process wrote."""
MASKED_LENGTH: Final = 4_096
"""Characters of them in which secrets are looked for."""
_ROOM: Final = str(Path(__file__).parent)


class Defect(NamedTuple):
    """A step that failed as nobody foresaw."""

    where: str
    """Which step."""
    what: str
    """The exception, on one line, and where in the code it came from."""


class Failing(NamedTuple):
    """A step of a thread that has not succeeded since it first failed."""

    since: float
    """time.monotonic() of the first failure."""
    defect: Defect
    """The latest."""


class Guard:
    """Runs steps and keeps what failed of them; any thread may use it.

    Attributes:
        counts: defects by where.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin without a defect.

        Args:
            clock: gives seconds that only grow.
        """
        self.counts: Counter[str] = Counter()
        self._clock = clock
        self._lock = threading.Lock()
        self._told: Counter[str] = Counter()
        self._failing: dict[str, Failing] = {}

    def one(
        self, where: str, about: str, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T | Defect:
        """Run a step for one of many subjects; return what it returns, or its defect.

        Args:
            where: which step, for the metric and the log.
            about: which subject, as ``pid=7``.
            step: is run with the arguments that follow.
            args: positional ones.
            kwargs: and the others.
        """
        try:
            return step(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - what it may be is not known, that is the point
            return self._note(where, about, error)

    def whole(
        self, where: str, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T | Defect:
        """Run a step that a thread cannot do without; as `one`, and its failing is an illness."""
        try:
            result = step(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - as above
            defect = self._note(where, "", error)
            known = self._failing.get(where)
            self._failing[where] = Failing(known.since if known else self._clock(), defect)
            return defect
        self.well(where)
        return result

    def well(self, where: str) -> None:
        """Take note that a step goes well, which for a long one is known before its end."""
        if self._failing:
            self._failing.pop(where, None)

    def failing(self) -> Failing | None:
        """Return the step of a thread that has failed for longest; None where all succeed."""
        return min(self._failing.copy().values(), default=None)

    def failing_at(self, where: str) -> bool:
        """Tell whether a step of a thread failed when it ran last."""
        return where in self._failing

    def _note(self, where: str, about: str, error: Exception) -> Defect:
        place = _place(error.__traceback__)
        defect = Defect(where, f"{_words(error)} at {place}")
        site = f"{where} {type(error).__name__} {place}"
        with self._lock:
            self.counts[where] += 1
            told = self._told[site] + 1
            if told > 1 or len(self._told) < PLACES_TOLD:
                self._told[site] = told
            else:
                told = TOLD_EACH + 1
        metrics.DEFECTS.labels(where).inc()
        if told <= TOLD_EACH:
            log.error(
                "defect where=%s%s: %s; %s",
                where,
                f" {about}" if about else "",
                defect.what,
                "please report it" if told < TOLD_EACH else "counted from now on, no longer told",
                exc_info=error if told == 1 else None,
            )
        return defect


def _words(error: Exception) -> str:
    """Tell an exception on one line; one whose own text fails as well is told by its type."""
    try:
        text = repr(error)
    except Exception:  # noqa: BLE001 - see above
        text = type(error).__name__
    # what was cut off in the middle of a secret would not be known for one
    text = without_secrets(text[:MASKED_LENGTH])
    flat = "".join(each if each.isprintable() else "?" for each in text[: WHAT_LENGTH + 1])
    return flat if len(flat) <= WHAT_LENGTH else flat[: WHAT_LENGTH - 1] + "…"


def _place(traceback: TracebackType | None) -> str:
    """Name the innermost line of the agent's own code that an exception came through."""
    place = "?"
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if file.startswith(_ROOM) and file != __file__:
            place = f"rover{file.removeprefix(_ROOM)}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return place
