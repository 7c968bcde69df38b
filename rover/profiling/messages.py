"""Bytes from records, records from bytes: the messages of EBPFProfilingService."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from google.protobuf.message import DecodeError

from rover._proto.common.Command_pb2 import Commands
from rover._proto.ebpf.profiling.Profile_pb2 import (
    PROCESS_KERNEL_SPACE,
    PROCESS_USER_SPACE,
    EBPFOffCPUProfiling,
    EBPFOnCPUProfiling,
    EBPFProfilingData,
    EBPFProfilingStackMetadata,
    EBPFProfilingTaskMetadata,
    EBPFProfilingTaskQuery,
)
from rover.profiling.records import Target
from rover.profiling.tasks import Command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rover.profiling.merge import Batch, Item
    from rover.profiling.tasks import Task

LONGEST_NAME: Final = 1_000
"""Characters of a symbol that are sent; what templates make of C++ names has no end."""
_SURROGATES: Final = re.compile("[\ud800-\udfff]")


class Share(NamedTuple):
    """What one flush holds of one task."""

    task: Task
    began: int
    """Milliseconds since the epoch; the same for as long as the task is followed."""
    batch: Batch


def query(agent_id: str, latest: int) -> bytes:
    """Ask for the tasks of an agent's processes that changed after a time, milliseconds."""
    return EBPFProfilingTaskQuery(
        roverInstanceId=agent_id, latestUpdateTime=latest
    ).SerializeToString()


def commands(message: bytes) -> list[Command]:
    """Read what was answered.

    Raises:
        ValueError: The bytes are no such message.
    """
    try:
        answered = Commands.FromString(message)
    except (DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{len(message)} bytes that are no list of commands") from error
    return [
        Command(each.command, {pair.key: pair.value for pair in each.args})
        for each in answered.commands
    ]


def stream(share: Share) -> Iterator[bytes]:
    """Give the messages of one task's share: one for each stack, the task in the first."""
    task, began, batch = share
    metadata = EBPFProfilingTaskMetadata(
        taskId=task.key.task_id,
        processId=task.key.process_id,
        profilingStartTime=began,
        currentTime=batch.at,
    )
    for number, item in enumerate(batch.items):
        data = _data(task.target, item)
        if number == 0:
            data.task.CopyFrom(metadata)
        yield data.SerializeToString()


def _data(target: Target, item: Item) -> EBPFProfilingData:
    stack, (times, ns) = item.stack, item.amount
    stacks = [
        EBPFProfilingStackMetadata(
            stackType=side, stackId=number, stackSymbols=[_name(name) for name in names]
        )
        for side, number, names in (
            (PROCESS_KERNEL_SPACE, item.kernel_id, stack.kernel),
            (PROCESS_USER_SPACE, item.user_id, stack.user),
        )
        if names
    ]
    if target is Target.ON_CPU:
        return EBPFProfilingData(onCPU=EBPFOnCPUProfiling(stacks=stacks, dumpCount=times))
    return EBPFProfilingData(
        offCPU=EBPFOffCPUProfiling(stacks=stacks, switchCount=times, duration=ns)
    )


def _name(text: str) -> str:
    """Make a symbol such that the message can carry it."""
    text = text[:LONGEST_NAME]
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)
