"""The last hour of a few figures, for the charts of the status page.

A thread looks at what the agent exports every half a minute. A look costs 5 ms at most, and all
that is kept 50 KB.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from rover.metrics import DEFECTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from prometheus_client import Metric

log = logging.getLogger("rover.status")

PERIOD: Final = 30.0
"""Seconds between two looks."""
SPAN: Final = 3_600.0
"""Seconds that are kept."""
PATIENCE: Final = 0.5
"""Seconds that the end of the agent waits for a look."""
MOST: Final = int(SPAN / PERIOD) + 1


@dataclass(frozen=True, slots=True)
class Taken:
    """A figure that is kept: the sum of all its samples that have one of these labels' values."""

    name: str
    label: str = ""
    values: tuple[str, ...] = ()
    but: bool = False
    """Those with other values instead."""

    def takes(self, labels: Mapping[str, str]) -> bool:
        """Tell whether a sample with these labels counts."""
        return not self.label or (labels.get(self.label) in self.values) is not self.but


class Over(Enum):
    """What becomes of the figures of two looks."""

    NOTHING = "as it is"
    TIME = "its growth by the second"
    OTHER = "its growth by that of another"


@dataclass(frozen=True, slots=True)
class Course:
    """What one chart shows."""

    title: str
    unit: str
    of: Taken
    over: Over = Over.NOTHING
    other: Taken | None = None
    factor: float = 1.0
    """From the figure's unit to the chart's."""


_EVENTS: Final = Taken("rover_events_total", "kind", ("exec", "fork"))
COURSES: Final = (
    Course("Processes reported", "", Taken("rover_processes", "reason", ("reported",))),
    Course("Entities", "", Taken("rover_entities")),
    Course("Starts", "a second", _EVENTS, Over.TIME),
    Course("Events lost", "a minute", Taken("rover_lost_total"), Over.TIME, factor=60),
    Course("Reports due", "", Taken("rover_waiting_entities")),
    Course(
        "Calls that failed",
        "a minute",
        Taken("rover_reports_total", "result", ("ok",), but=True),
        Over.TIME,
        factor=60,
    ),
    Course(
        "A beat takes",
        "ms",
        Taken("rover_heartbeat_seconds_sum"),
        Over.OTHER,
        Taken("rover_heartbeat_seconds_count"),
        factor=1_000,
    ),
    Course("Memory", "MiB", Taken("process_resident_memory_bytes"), factor=2**-20),
    Course("CPU", "% of a core", Taken("process_cpu_seconds_total"), Over.TIME, factor=100),
)
TAKEN: Final = tuple(
    dict.fromkeys(each for course in COURSES for each in (course.of, course.other) if each)
)

Look = tuple[float, tuple[float | None, ...]]
"""Seconds of a clock that only grows, and each of `TAKEN`; None where it was not to be had."""
Points = tuple[tuple[float, float], ...]
"""Seconds before now, at most 0, and the value then; where one was not to be had it is left out."""


def look(families: Iterable[Metric], now: float) -> Look:
    """Take what is kept out of all figures."""
    sums: dict[Taken, float] = {}
    by_name: dict[str, list[Taken]] = {}
    for taken in TAKEN:
        by_name.setdefault(taken.name, []).append(taken)
    for family in families:
        for sample in family.samples:
            for taken in by_name.get(sample.name, ()):
                value = sample.value if taken.takes(sample.labels) else 0.0
                sums[taken] = sums.get(taken, 0.0) + value
    return now, tuple(sums.get(taken) for taken in TAKEN)


def points(course: Course, looks: Iterable[Look], now: float) -> Points:
    """Return the course of a chart over so many looks, oldest first."""
    at = TAKEN.index(course.of)
    found = []
    if course.over is Over.NOTHING:
        for when, values in looks:
            if (value := values[at]) is not None:
                found.append((when - now, value * course.factor))
        return tuple(found)
    other = TAKEN.index(course.other) if course.other else None
    before: Look | None = None
    for when, values in looks:
        if before is not None:
            grown = _growth(before[1][at], values[at])
            by = when - before[0] if other is None else _growth(before[1][other], values[other])
            if grown is not None and by:
                found.append((when - now, grown / by * course.factor))
        before = (when, values)
    return tuple(found)


def _growth(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else max(0.0, after - before)


class History:
    """Keeps looks at the figures, as long as it runs."""

    def __init__(
        self,
        collect: Callable[[], Iterable[Metric]],
        period: float = PERIOD,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Hold what to look at.

        Args:
            collect: gives all figures.
            period: seconds between two looks.
            clock: gives seconds that only grow.
        """
        self._collect = collect
        self._period = period
        self._clock = clock
        self._looks: deque[Look] = deque(maxlen=MOST)
        self._told = False
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="status-history", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; a look under way ends by itself, later than that where discovery hangs."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(PATIENCE)

    def courses(self) -> list[tuple[Course, Points]]:
        """Return what each chart shows, the figures of this moment included."""
        now = self._clock()
        looks = [*tuple(self._looks), look(self._collect(), now)]
        return [(course, points(course, looks, now)) for course in COURSES]

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                self._looks.append(look(self._collect(), self._clock()))
            except Exception as error:  # noqa: BLE001 - one figure's defect must end no chart
                DEFECTS.labels("history").inc()
                self._tell_once(error)
            self._ending.wait(self._period)

    def _tell_once(self, error: Exception) -> None:
        if not self._told:
            self._told = True
            log.error("defect in the history of figures, please report it", exc_info=error)
