"""Profiles as a user of the server sees them: tasks, their schedules, and the tree of stacks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

Json = dict[str, Any]

Target = Literal["ON_CPU", "OFF_CPU"]


@dataclass(frozen=True, slots=True)
class ProfilingTask:
    """A task as it was created; times are milliseconds since the epoch."""

    id: str
    target: Target
    service_id: str
    labels: tuple[str, ...]
    """Its processes have all of them."""
    process_id: str
    """Its one process; empty: all that match. The server itself knows no such choice."""
    start: int
    seconds: int
    updated: int
    causes: tuple[str, ...] = ()
    """What an agent made it for, as ``PROCESS_CPU 120 >= 80``; none for a user's."""

    @property
    def end(self) -> int:
        """Milliseconds since the epoch."""
        return self.start + 1_000 * self.seconds

    def as_dict(self) -> Json:
        """Make it JSON-ready."""
        return {
            "id": self.id,
            "target": self.target,
            "service_id": self.service_id,
            "labels": list(self.labels),
            "process_id": self.process_id,
            "start": self.start,
            "seconds": self.seconds,
            "updated": self.updated,
            "causes": list(self.causes),
        }


@dataclass(frozen=True, slots=True)
class Schedule:
    """One process that an agent profiled for a task, from when to when."""

    task_id: str
    process_id: str
    start: int
    """Milliseconds since the epoch, as the agent says."""
    end: int
    """Of its latest flush."""

    def as_dict(self) -> Json:
        """Make it JSON-ready."""
        return {
            "task_id": self.task_id,
            "process_id": self.process_id,
            "start": self.start,
            "end": self.end,
        }


class Frame(NamedTuple):
    """One function on a stack."""

    symbol: str
    kernel: bool


@dataclass(frozen=True, slots=True)
class StackRow:
    """One stored stack of one flush."""

    frames: tuple[Frame, ...]
    """Outermost first."""
    count: int
    """Dumps, or switches."""
    ns: int
    """Time off the CPU."""


@dataclass(frozen=True, slots=True)
class Node:
    """A function with all that was met in it and below it."""

    frame: Frame
    count: int
    ns: int
    own_count: int
    """Met in the function itself: it was the leaf."""
    own_ns: int
    children: tuple[Node, ...]
    """Largest first."""

    def as_dict(self) -> Json:
        """Make it JSON-ready."""
        return {
            "symbol": self.frame.symbol,
            "kernel": self.frame.kernel,
            "count": self.count,
            "ns": self.ns,
            "own_count": self.own_count,
            "own_ns": self.own_ns,
            "children": [child.as_dict() for child in self.children],
        }


@dataclass(frozen=True, slots=True)
class Profile:
    """All that is stored of one task."""

    task: ProfilingTask
    schedules: tuple[Schedule, ...]
    flushes: int
    roots: tuple[Node, ...]

    @property
    def count(self) -> int:
        """Dumps or switches, of all stacks."""
        return sum(root.count for root in self.roots)

    @property
    def ns(self) -> int:
        """Nanoseconds off the CPU, of all stacks."""
        return sum(root.ns for root in self.roots)

    def of(self, symbol: str) -> tuple[int, int]:
        """Count and nanoseconds of the stacks that have a function, wherever it stands."""
        return _of(self.roots, symbol)

    def as_dict(self) -> Json:
        """Make it JSON-ready."""
        return {
            "task": self.task.as_dict(),
            "schedules": [schedule.as_dict() for schedule in self.schedules],
            "flushes": self.flushes,
            "count": self.count,
            "ns": self.ns,
            "roots": [root.as_dict() for root in self.roots],
        }


def tree(rows: Iterable[StackRow]) -> tuple[Node, ...]:
    """Merge stacks from the root by symbol and side, as the server does."""
    top = _Branch()
    for row in rows:
        at = top
        for frame in row.frames:
            at = at.below.setdefault(frame, _Branch())
            at.count += row.count
            at.ns += row.ns
        at.own_count += row.count
        at.own_ns += row.ns
    return _frozen(top)


@dataclass(slots=True)
class _Branch:
    count: int = 0
    ns: int = 0
    own_count: int = 0
    own_ns: int = 0
    below: dict[Frame, _Branch] = field(default_factory=dict)


def _frozen(branch: _Branch) -> tuple[Node, ...]:
    """Freeze all below a branch; as deep as stacks are, which the protocol's agents bound."""
    nodes = [
        Node(frame, each.count, each.ns, each.own_count, each.own_ns, _frozen(each))
        for frame, each in branch.below.items()
    ]
    return tuple(sorted(nodes, key=lambda node: (-node.ns, -node.count, node.frame)))


def _of(nodes: tuple[Node, ...], symbol: str) -> tuple[int, int]:
    count = ns = 0
    for node in nodes:
        found = (node.count, node.ns) if node.frame.symbol == symbol else _of(node.children, symbol)
        count, ns = count + found[0], ns + found[1]
    return count, ns
