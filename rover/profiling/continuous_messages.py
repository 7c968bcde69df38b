"""Bytes from records, records from bytes: the messages of ContinuousProfilingService."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rover._proto.ebpf.profiling.Continuous_pb2 import (
    ContinuousOffCPUProfilingTask,
    ContinuousOnCPUProfilingTask,
    ContinuousProfilingCause,
    ContinuousProfilingPolicyQuery,
    ContinuousProfilingReport,
    ContinuousProfilingServicePolicyQuery,
    ContinuousProfilingSingleValueCause,
    ContinuousProfilingTriggeredMonitorType,
)
from rover.profiling import policies as policy_text
from rover.profiling.messages import commands
from rover.profiling.records import Target
from rover.profiling.tasks import LONGEST_ID

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rover.profiling.policies import Policy
    from rover.profiling.watching import Trigger

TASK_COMMAND: Final = "ContinuousProfilingReportTask"


def query(known: Mapping[str, str]) -> bytes:
    """Ask for the policies of services, by the versions that are known ("" for none)."""
    return ContinuousProfilingPolicyQuery(
        policies=[
            ContinuousProfilingServicePolicyQuery(serviceName=_text(name), uuid=uuid)
            for name, uuid in known.items()
        ]
    ).SerializeToString()


def policies(message: bytes) -> list[Policy]:
    """Read the policies that changed.

    Raises:
        ValueError: The answer cannot be read.
    """
    return [
        policy
        for command in commands(message)
        if command.name == policy_text.COMMAND
        for policy in policy_text.read(command.args.get(policy_text.ARGUMENT, "[]"))
    ]


def report(trigger: Trigger, seconds: int) -> bytes:
    """Say what is going to be profiled for so many seconds, and why."""
    entity = trigger.watched.entity
    message = ContinuousProfilingReport(
        layer=_text(entity.layer),
        serviceName=_text(entity.service),
        instanceName=_text(entity.instance),
        processName=_text(entity.process),
        causes=[
            ContinuousProfilingCause(
                type=ContinuousProfilingTriggeredMonitorType.Name(cause.monitor.value),
                singleValue=ContinuousProfilingSingleValueCause(
                    threshold=cause.threshold, current=cause.current
                ),
            )
            for cause in trigger.causes
        ],
        duration=seconds,
    )
    if trigger.target is Target.ON_CPU:
        message.onCPU.CopyFrom(ContinuousOnCPUProfilingTask())
    else:
        message.offCPU.CopyFrom(ContinuousOffCPUProfilingTask())
    return message.SerializeToString()


def task_id(message: bytes) -> str:
    """Read the id of the task that a report was answered with.

    Raises:
        ValueError: There is none.
    """
    for command in commands(message):
        found = command.args.get("TaskId", "")
        if command.name == TASK_COMMAND and 0 < len(found) <= LONGEST_ID:
            return found
    raise ValueError("the answer to a trigger names no task")


def _text(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
