"""Profiling tasks and what agents send for them, as the server keeps it; safe from any thread."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from rover._proto.ebpf.profiling.Continuous_pb2 import ContinuousProfilingTriggeredMonitorType
from rover._proto.ebpf.profiling.Profile_pb2 import PROCESS_KERNEL_SPACE
from rover.backend.commands import Command
from rover.backend.ids import process_id, service_id
from rover.backend.policies import Policies
from rover.backend.profiles import Frame, Profile, ProfilingTask, Schedule, StackRow, tree
from rover.backend.records import Rule, Stamp, Violation
from rover.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rover._proto.ebpf.profiling.Continuous_pb2 import ContinuousProfilingReport
    from rover._proto.ebpf.profiling.Profile_pb2 import (
        EBPFProfilingData,
        EBPFProfilingStackMetadata,
        EBPFProfilingTaskMetadata,
        EBPFProfilingTaskQuery,
    )
    from rover.backend.profiles import Target
    from rover.backend.records import StoredProcess
    from rover.backend.state import State

COMMAND: Final = "EBPFProfilingTaskQuery"
TARGETS: Final = ("ON_CPU", "OFF_CPU")
LONGEST: Final = 100_000
"""Seconds that a task may last; the server takes them."""
ROWS_KEPT: Final = 1_000_000
"""Stacks of all flushes; a bound against a client that makes them up."""
TASKS_KEPT: Final = 10_000
DEPTH_KEPT: Final = 512
"""Frames of a stack; agents send at most half of them."""

log = logging.getLogger("rover.backend")


class _RowKey(NamedTuple):
    """What the server makes a stack's record id of."""

    schedule: tuple[str, str, int]
    stack_ids: str
    upload_time: int


class Stream:
    """One call of collectProfilingData; of one thread."""

    def __init__(self, store: Profiling) -> None:
        self._store = store
        self._task: EBPFProfilingTaskMetadata | None = None
        self._keys: set[_RowKey] = set()
        self.stacks = 0

    def take(self, data: EBPFProfilingData) -> bool:
        """Store one message; False where the server fails on it."""
        if data.HasField("task") or self._task is None:
            self._task = data.task
            self._store.schedule(data.task)
        kind = data.WhichOneof("profiling")
        if kind is None:
            self._store.broken(Rule.EMPTY_PROFILING, f"task {self._task.taskId!r}")
            return False
        self._keys.add(self._store.add(self._task, data, self._keys))
        self.stacks += 1
        return True


class Profiling:
    """The tasks of one backend, and the stacks that came for them.

    Args:
        state: Knows the processes and takes violations.

    Attributes:
        policies: Of continuous profiling.
    """

    def __init__(self, state: State) -> None:
        self.policies = Policies()
        self._state = state
        self._changed = threading.Condition()
        self._tasks: dict[str, ProfilingTask] = {}
        self._schedules: dict[tuple[str, str, int], Schedule] = {}
        self._rows: dict[_RowKey, StackRow] = {}

    def create_task(
        self,
        target: Target,
        seconds: int,
        *,
        service: str = "",
        labels: Iterable[str] = (),
        process_id: str = "",
        start: float | None = None,
        overlapping: bool = False,
    ) -> ProfilingTask:
        """Ask agents for a profile, as a user of the server does; they hear of it when they poll.

        Args:
            target: ON_CPU or OFF_CPU.
            seconds: How long; the server's own interface asks for 60 at least.
            service: Name of the service whose processes are profiled.
            labels: Only those of them that have all these labels.
            process_id: Only this process; then its service need not be named.
            start: time.time() of its start; None: now.
            overlapping: Whether the service may have another task of this target at that time, as
                the server forbids.

        Raises:
            ConfigError: A value cannot be used, or no process can be profiled for it.
        """
        if target not in TARGETS:
            raise ConfigError(f"target is one of {', '.join(TARGETS)}, not {target!r}")
        if not 1 <= seconds <= LONGEST:
            raise ConfigError(f"seconds are from 1 to {LONGEST}, not {seconds}")
        wanted = self._service_of(service, process_id)
        now = int(time.time() * 1_000)
        begin = now if start is None else int(start * 1_000)
        with self._changed:
            updated = max([now, *(task.updated + 1 for task in self._tasks.values())])
            text = f"{wanted}_{target}_{begin}_{updated}_{len(self._tasks)}"
            task = ProfilingTask(
                id=hashlib.sha256(text.encode()).hexdigest(),
                target=target,
                service_id=wanted,
                labels=tuple(labels),
                process_id=process_id,
                start=begin,
                seconds=seconds,
                updated=updated,
            )
            if not any(_matches(task, process) for process in self._state.snapshot().processes):
                raise ConfigError(
                    "no process that supports profiling matches: the service, its labels or the "
                    "process is unknown here, or its first report said support_ebpf_profiling=false"
                )
            if not overlapping and any(_overlap(task, other) for other in self._tasks.values()):
                raise ConfigError("the task's time range overlaps with another of its service")
            if len(self._tasks) >= TASKS_KEPT:
                raise ConfigError(f"there are {TASKS_KEPT} tasks already; restart without memory")
            self._tasks[task.id] = task
            self._changed.notify_all()
        return task

    @property
    def tasks(self) -> tuple[ProfilingTask, ...]:
        """All that were created, in order."""
        with self._changed:
            return tuple(self._tasks.values())

    def profile(self, task_id: str) -> Profile:
        """Give what is stored of a task.

        Raises:
            ConfigError: There is no such task.
        """
        with self._changed:
            task = self._tasks.get(task_id)
            if task is None:
                raise ConfigError(f"there is no profiling task {task_id!r}")
            rows = [(key, row) for key, row in self._rows.items() if key.schedule[0] == task_id]
            schedules = tuple(each for each in self._schedules.values() if each.task_id == task_id)
        flushes = {(key.schedule, key.upload_time) for key, _ in rows}
        return Profile(task, schedules, len(flushes), tree(row for _, row in rows))

    def wait_for(
        self, task_id: str, predicate: Callable[[Profile], object], timeout: float = 10.0
    ) -> Profile:
        """Wait until the predicate holds for a task's profile, and give that.

        Raises:
            ConfigError: There is no such task.
            TimeoutError: It did not hold in so many seconds; the message says what is stored.
        """
        deadline = time.monotonic() + timeout
        while True:
            with self._changed:
                profile = self.profile(task_id)
                if predicate(profile):
                    return profile
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    raise TimeoutError(
                        f"not seen within {timeout:g} s; stored: {profile.count} samples in "
                        f"{profile.flushes} flushes of {len(profile.schedules)} schedules"
                    )

    def query(self, request: EBPFProfilingTaskQuery) -> tuple[Command, ...]:
        """Answer an agent: a command for each of its processes and each task that is new to it."""
        mine = [
            process
            for process in self._state.snapshot().processes
            if process.agent_id == request.roverInstanceId
        ]
        with self._changed:
            new = [
                task
                for task in self._tasks.values()
                if task.updated > request.latestUpdateTime and not task.causes
            ]
        return tuple(
            _command(task, process) for task in new for process in mine if _matches(task, process)
        )

    def triggered(self, report: ContinuousProfilingReport) -> Command:
        """Make a task of what an agent says; it is never given out by `query`."""
        now = int(time.time() * 1_000)
        process = process_id(report.serviceName, report.instanceName, report.processName)
        target: Target = "OFF_CPU" if report.HasField("offCPU") else "ON_CPU"
        causes = tuple(
            f"{ContinuousProfilingTriggeredMonitorType.Name(cause.type)} "
            f"{cause.singleValue.current:g} >= {cause.singleValue.threshold:g}"
            for cause in report.causes
        )
        task = ProfilingTask(
            id=hashlib.sha256(f"{process}_{target}_{now}".encode()).hexdigest(),
            target=target,
            service_id=service_id(report.serviceName),
            labels=(),
            process_id=process,
            start=now,
            seconds=report.duration,
            updated=now,
            causes=causes or ("none was named",),
        )
        with self._changed:
            if len(self._tasks) < TASKS_KEPT:
                self._tasks[task.id] = task
            self._changed.notify_all()
        return Command("ContinuousProfilingReportTask", {"TaskId": task.id})

    def schedule(self, task: EBPFProfilingTaskMetadata) -> None:
        """Take note that an agent profiles a process for a task."""
        key = (task.taskId, task.processId, task.profilingStartTime)
        known = self._tasks.get(task.taskId)
        process = next(
            (one for one in self._state.snapshot().processes if one.id == task.processId), None
        )
        if known is None or process is None or not _matches(known, process):
            self.broken(Rule.NO_PROFILING_TASK, f"task {task.taskId!r} process {task.processId!r}")
        with self._changed:
            before = self._schedules.get(key)
            if before is not None or len(self._schedules) < ROWS_KEPT:
                end = max(task.currentTime, before.end if before else 0)
                self._schedules[key] = Schedule(*key, end)

    def add(
        self, task: EBPFProfilingTaskMetadata, data: EBPFProfilingData, known: set[_RowKey]
    ) -> _RowKey:
        """Store a stack; of two with one key the first stays.

        Args:
            task: The stream's present one.
            data: The message.
            known: What the stream has brought already.
        """
        on_cpu = data.WhichOneof("profiling") == "onCPU"
        stacks = data.onCPU.stacks if on_cpu else data.offCPU.stacks
        count = data.onCPU.dumpCount if on_cpu else data.offCPU.switchCount
        # kernel before user, and of two of one side the later one, as the server orders them
        ordered = sorted({stack.stackType: stack for stack in stacks}.items())
        key = _RowKey(
            (task.taskId, task.processId, task.profilingStartTime),
            "_".join(str(stack.stackId) for _, stack in ordered),
            task.currentTime,
        )
        row = StackRow(_frames(stack for _, stack in ordered), count, data.offCPU.duration)
        with self._changed:
            before = self._rows.get(key)
            if before is None and len(self._rows) < ROWS_KEPT:
                self._rows[key] = row
                self._changed.notify_all()
        if key in known or (before is not None and before != row):
            self.broken(Rule.STACK_TWICE, f"stack {key.stack_ids} at {key.upload_time}")
        return key

    def broken(self, rule: Rule, detail: str) -> None:
        """Take note of a rule that an agent broke."""
        self._state.violated(Violation(rule, detail, "collectProfilingData", "", Stamp.now()))

    def forget(self) -> None:
        """Lose all tasks, stacks and policies."""
        self.policies.forget()
        with self._changed:
            self._tasks.clear()
            self._schedules.clear()
            self._rows.clear()
            self._changed.notify_all()

    def extend(self, task_id: str, seconds: int) -> ProfilingTask:
        """Make a task last longer, which agents hear of as a change of it.

        Raises:
            ConfigError: There is no such task.
        """
        with self._changed:
            task = self._tasks.get(task_id)
            if task is None:
                raise ConfigError(f"there is no profiling task {task_id!r}")
            updated = max(int(time.time() * 1_000), task.updated + 1)
            self._tasks[task_id] = replace(task, seconds=seconds, updated=updated)
            return self._tasks[task_id]

    def _service_of(self, service: str, process_id: str) -> str:
        if service:
            return service_id(service)
        processes = self._state.snapshot().processes
        found = next((one for one in processes if one.id == process_id), None)
        if found is None:
            raise ConfigError(f"no process has the id {process_id!r}; name one, or a service")
        return found.service_id


def _matches(task: ProfilingTask, process: StoredProcess) -> bool:
    return (
        process.supports_profiling
        and process.service_id == task.service_id
        and task.process_id in {"", process.id}
        and set(task.labels) <= set(process.entity.labels)
    )


def _overlap(one: ProfilingTask, other: ProfilingTask) -> bool:
    return (
        (one.service_id, one.target, one.process_id)
        == (other.service_id, other.target, other.process_id)
        and one.start < other.end
        and other.start < one.end
    )


def _command(task: ProfilingTask, process: StoredProcess) -> Command:
    """Give the arguments in the server's order."""
    serial = hashlib.sha256(f"{task.id}{process.id}".encode()).hexdigest()
    return Command(
        COMMAND,
        {
            "SerialNumber": serial[:32],
            "TaskId": task.id,
            "ProcessId": process.id,
            "TaskUpdateTime": str(task.updated),
            "TriggerType": "FIXED_TIME",
            "TargetType": task.target,
            "TaskStartTime": str(task.start),
            "ExtensionConfigJSON": "null",
            "FixedTriggerDuration": str(task.seconds),
        },
    )


def _frames(stacks: Iterable[EBPFProfilingStackMetadata]) -> tuple[Frame, ...]:
    """Give all frames of a sample, the outermost first."""
    frames = [
        Frame(symbol, stack.stackType == PROCESS_KERNEL_SPACE)
        for stack in stacks
        for symbol in stack.stackSymbols
    ]
    return tuple(reversed(frames[:DEPTH_KEPT]))
