"""Figures of the last seconds, and whether a rule holds for them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rover.profiling.policies import Monitor, Rule


class Cause(NamedTuple):
    """Why something is profiled."""

    monitor: Monitor
    threshold: float
    current: float
    """The latest figure at or above it."""


class _Value(NamedTuple):
    at: float
    figure: float


class Window:
    """The figures of one entity, of one kind; as long as the longest period that is asked about."""

    def __init__(self) -> None:
        self._values: deque[_Value] = deque()

    def __len__(self) -> int:
        return len(self._values)

    def add(self, at: float, figure: float, period: int) -> None:
        """Take a figure in.

        Args:
            at: seconds that only grow.
            figure: now.
            period: how long it is kept, seconds.
        """
        self._values.append(_Value(at, figure))
        while self._values and self._values[0].at <= at - period:
            self._values.popleft()

    def cause(self, rule: Rule, now: float) -> Cause | None:
        """Tell why a rule holds; None where it does not.

        A second counts once, however many figures came in it.
        """
        reached = [
            value
            for value in self._values
            if value.at > now - rule.period and value.figure >= rule.threshold
        ]
        if len({int(value.at) for value in reached}) < rule.count:
            return None
        return Cause(rule.monitor, rule.threshold, reached[-1].figure)
