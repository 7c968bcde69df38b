"""Tasks of the backend: its commands become frozen records, or the reason why they do not.

What a command says is read by the keys of its arguments. What cannot be used is told once and not
asked for again, since the time of the latest change goes on with it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from rover.profiling.records import Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

COMMAND: Final = "EBPFProfilingTaskQuery"
FIXED_TIME: Final = "FIXED_TIME"
LONGEST_ID: Final = 512
"""Characters of an id; the server's have 64."""
LONGEST: Final = 86_400
"""Seconds that a task may last; the server itself sets no bound."""
AHEAD: Final = 86_400
"""Seconds by which the backend's clock may be ahead of ours."""
MOST_WAITING: Final = 1_000
"""Tasks that are kept at once, those included whose start lies ahead."""
MOST_TOLD: Final = 1_000
"""Refused tasks that are remembered, so that each is told once."""
MILLISECONDS: Final = 1_000


class Reason(Enum):
    """Why a task is refused; the value is the word for the metric."""

    COMMAND = "command"
    """It is none that we know."""
    ARGUMENT = "argument"
    """One is missing, or is not what it should be."""
    TARGET = "target"
    """NETWORK, or one that we do not know."""
    TRIGGER = "trigger"
    DURATION = "duration"
    OVER = "over"
    """Its time has passed."""
    TOO_MANY = "too many"
    """As many processes as may be are profiled already, or as many tasks wait."""
    PROCESS = "process"
    """No live process has the entity."""
    SAMPLING = "sampling"
    """The process cannot be sampled."""


class TaskKey(NamedTuple):
    """A task has one command for each of its processes."""

    task_id: str
    process_id: str
    """The backend's id of the entity."""


@dataclass(frozen=True, slots=True)
class Task:
    """One process to be profiled for a while."""

    key: TaskKey
    target: Target
    start: float
    """Seconds since the epoch, by the backend's clock."""
    duration: float
    """Seconds."""

    @property
    def end(self) -> float:
        """Seconds since the epoch."""
        return self.start + self.duration


@dataclass(frozen=True, slots=True)
class Refusal:
    """A task that is not taken."""

    reason: Reason
    detail: str
    key: TaskKey
    """Empty where the command names none."""


class Command(NamedTuple):
    """What the backend sent."""

    name: str
    args: Mapping[str, str]


class _UnusableError(Exception):
    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def read(command: Command, now: float) -> Task | Refusal:
    """Read one command.

    Args:
        command: as it came.
        now: time.time().
    """
    try:
        task = _asked(command)
    except _UnusableError as error:
        return Refusal(error.reason, error.detail, _key(command.args))
    if task.end <= now:
        detail = f"it ended {now - task.end:.0f} s ago by this host's clock"
        return Refusal(Reason.OVER, detail, task.key)
    return task


def _asked(command: Command) -> Task:
    args = command.args
    if command.name != COMMAND:
        raise _UnusableError(Reason.COMMAND, f"command {command.name[:80]!r} is unknown")
    for name in ("TaskId", "ProcessId"):
        if not 0 < len(args.get(name, "")) <= LONGEST_ID:
            raise _UnusableError(Reason.ARGUMENT, f"{name} is missing or too long")
    target, trigger = args.get("TargetType", ""), args.get("TriggerType", "")
    if target not in Target.__members__:
        raise _UnusableError(Reason.TARGET, f"target {target[:80]!r} cannot be profiled")
    if trigger != FIXED_TIME:
        raise _UnusableError(Reason.TRIGGER, f"trigger {trigger[:80]!r} is unknown")
    _number(args, "TaskUpdateTime")
    start = _number(args, "TaskStartTime") / MILLISECONDS
    duration = _number(args, "FixedTriggerDuration")
    if not 0 < duration <= LONGEST:
        what = f"a duration of {duration} s, which must be from 1 to {LONGEST}"
        raise _UnusableError(Reason.DURATION, what)
    return Task(_key(args), Target(target), start, duration)


def _key(args: Mapping[str, str]) -> TaskKey:
    return TaskKey(args.get("TaskId", "")[:LONGEST_ID], args.get("ProcessId", "")[:LONGEST_ID])


def updated(command: Command, now: float) -> int:
    """Tell when a task changed last, in milliseconds since the epoch; 0 where that is no time.

    A time far ahead of ours counts as none: no other task would come after it.
    """
    try:
        changed = _number(command.args, "TaskUpdateTime")
    except _UnusableError:
        return 0
    return changed if changed <= (now + AHEAD) * MILLISECONDS else 0


class Tasks:
    """The tasks whose time has not passed; those of one agent.

    Attributes:
        latest: when the latest of those taken changed, in milliseconds since the epoch.
    """

    def __init__(self) -> None:
        self.latest = 0
        self._tasks: dict[TaskKey, Task] = {}
        self._told: OrderedDict[tuple[TaskKey, Reason], None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tasks)

    def take(self, commands: Iterable[Command], now: float) -> list[Refusal]:
        """Take over what the backend asks for; return what is refused.

        Args:
            commands: as they came.
            now: time.time().
        """
        refused = []
        for command in commands:
            task = read(command, now)
            full = len(self._tasks) >= MOST_WAITING and task.key not in self._tasks
            if full and isinstance(task, Task):
                task = Refusal(Reason.TOO_MANY, f"{MOST_WAITING} tasks wait already", task.key)
            if isinstance(task, Refusal):
                refused.append(task)
            else:
                self._tasks[task.key] = task
            self.latest = max(self.latest, updated(command, now))
        return refused

    def add(self, task: Task) -> None:
        """Take over a task that the agent itself has asked for."""
        if len(self._tasks) < MOST_WAITING:
            self._tasks[task.key] = task

    def forget_over(self, now: float) -> None:
        """Drop what has ended."""
        for key in [key for key, task in self._tasks.items() if task.end <= now]:
            del self._tasks[key]

    def running(self, now: float) -> Iterator[Task]:
        """Give the tasks whose time it is, in the order in which they came."""
        return (task for task in self._tasks.values() if task.start <= now < task.end)

    def get(self, key: TaskKey) -> Task | None:
        """Return a task as it was asked for last."""
        return self._tasks.get(key)

    def next_change(self, now: float) -> float | None:
        """Return when the next one begins or ends, seconds since the epoch; None where none is."""
        times = (task.start if now < task.start else task.end for task in self._tasks.values())
        return min(times, default=None)

    def is_news(self, key: TaskKey, reason: Reason) -> bool:
        """Tell whether a refusal is told for the first time."""
        told = (key, reason)
        if told in self._told:
            return False
        self._told[told] = None
        if len(self._told) > MOST_TOLD:
            self._told.popitem(last=False)
        return True


def _number(args: Mapping[str, str], name: str) -> int:
    text = args.get(name, "")
    digits = text.removeprefix("-")
    # more digits than a 64-bit number has make none
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 19):  # noqa: PLR2004
        raise _UnusableError(Reason.ARGUMENT, f"{name} is {text[:40]!r}, no whole number")
    return int(text)
