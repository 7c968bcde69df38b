"""Policies of continuous profiling: what the backend wants watched, out of its JSON.

A rule holds where a figure was at or above its threshold in so many seconds of a period.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rover.profiling.records import Target

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND: Final = "ContinuousProfilingPolicyQuery"
ARGUMENT: Final = "ServiceWithPolicyJSON"
LONGEST_PERIOD: Final = 3_600
"""Seconds."""
MOST_SERVICES: Final = 10_000
LONGEST_NAME: Final = 512


class Monitor(Enum):
    """What is watched, by its name in policies; the value is the protocol's number."""

    PROCESS_CPU = 0
    """Percent of one processor."""
    PROCESS_THREAD_COUNT = 1
    SYSTEM_LOAD = 2
    """The host's load of the last minute."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One threshold."""

    target: Target
    """What is profiled once it is passed."""
    monitor: Monitor
    threshold: float
    period: int
    """Seconds."""
    count: int
    """Seconds of the period in which the threshold must have been reached."""


@dataclass(frozen=True, slots=True)
class Policy:
    """All rules of a service."""

    service: str
    uuid: str
    """Of this version; empty where the service has none any more."""
    rules: tuple[Rule, ...]
    refused: tuple[str, ...] = ()
    """Rules that cannot be held, each with its reason."""


class _Item(NamedTuple):
    target: str
    monitor: str
    given: Any


def read(text: str) -> list[Policy]:
    """Read the policies that changed.

    Raises:
        ValueError: The text is no list of policies.
    """
    try:
        listed = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(listed, list):
        raise ValueError("no list of services")  # noqa: TRY004  it is text that is read
    return [_policy(each) for each in listed[:MOST_SERVICES]]


def _policy(given: Any) -> Policy:  # noqa: ANN401  anything JSON can hold
    service = given.get("ServiceName") if isinstance(given, dict) else None
    uuid = given.get("UUID") if isinstance(given, dict) else None
    if not isinstance(service, str) or not isinstance(uuid, str):
        raise ValueError("a service without ServiceName or UUID")  # noqa: TRY004  as above
    rules, refused = [], []
    for item in _items(given.get("Profiling")):
        rule = _rule(item)
        if isinstance(rule, Rule):
            rules.append(rule)
        else:
            refused.append(f"{item.target[:40]} by {item.monitor[:40]}: {rule}")
    return Policy(service[:LONGEST_NAME], uuid[:LONGEST_NAME], tuple(rules), tuple(refused))


def _items(profiling: Any) -> Iterator[_Item]:  # noqa: ANN401  as above
    if not isinstance(profiling, dict):
        return
    for target, monitors in profiling.items():
        if isinstance(monitors, dict):
            for monitor, given in monitors.items():
                yield _Item(target, monitor, given)


def _rule(item: _Item) -> Rule | str:
    """Make a rule, or say why there is none."""
    if item.target not in Target.__members__:
        return "this agent does not profile that"
    if item.monitor not in Monitor.__members__:
        return "this agent does not watch that"
    given = item.given if isinstance(item.given, dict) else {}
    try:
        threshold = float(given.get("Threshold", ""))
        if not math.isfinite(threshold):
            raise ValueError(threshold)  # noqa: TRY301  as of any other text
    except (TypeError, ValueError):
        return f"the threshold {given.get('Threshold')!r:.40} is no number"
    period, count = _count(given.get("Period")), _count(given.get("Count"))
    if not period or not count:
        return "period and count must be whole numbers above 0"
    if count > period or period > LONGEST_PERIOD:
        return f"count {count} must fit into the period {period}, and that into {LONGEST_PERIOD} s"
    return Rule(Target(item.target), Monitor[item.monitor], threshold, period, count)


def _count(value: object) -> int:
    """Give a whole number above 0; 0 for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
