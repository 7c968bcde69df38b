"""What is sent and what is answered: bytes from records, records from bytes.

A list message is nothing but its items one after the other, each behind a tag and its length. So an
item is serialised once, kept as such a frame, and a beat is those frames joined: 10,000 unchanged
entities cost a beat no serialisation at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from google.protobuf.message import DecodeError

from rover._proto.common.Command_pb2 import Commands
from rover._proto.common.Common_pb2 import KeyStringValuePair
from rover._proto.ebpf.profiling.Process_pb2 import (
    EBPFHostProcessMetadata,
    EBPFKubernetesProcessMetadata,
    EBPFProcessEntityMetadata,
    EBPFProcessPingPkg,
    EBPFProcessProperties,
    EBPFReportProcessDownstream,
)
from rover.model import STANDARD_PROPERTIES
from rover.reporter import limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rover.model import Entity, Report

SUPPORT_PROFILING: Final = "support_ebpf_profiling"
SUPPORTED: Final = {True: "true", False: "false"}

LEAST_COMMAND_LINE: Final = 30_000
"""JSON units of the command line that further properties never take away."""
SHORT_COMMAND_LINE: Final = 2_000
ROOMY: Final = 30_000
"""Units that hold a short command line and the other values at their longest, all escaped."""

ITEM_TAG: Final = b"\x0a"
"""Field 1, length-delimited: ``processes`` of both list messages."""
AGENT_TAG: Final = b"\x12"
"""Field 2, length-delimited: ``ebpfAgentID`` of both list messages."""
FRAME_OVERHEAD: Final = 6
"""Most bytes of a tag and a length below 2 GiB."""
ANSWER_OVERHEAD: Final = 96
"""Bytes of an answered item beyond its entity: the id of 64 digits, the pid, tags, lengths."""


class Told(NamedTuple):
    """What an answer repeats of an item, by which the two are matched."""

    pid: int
    layer: str
    service: str
    instance: str
    process: str


class Answer(NamedTuple):
    """One item of what reportProcesses answers."""

    told: Told
    process_id: str


def told(report: Report) -> Told:
    """Give what the answer to this report will repeat."""
    entity = report.entity
    return Told(
        report.process.pid,
        limits.name(entity.layer),
        limits.name(entity.service),
        limits.name(entity.instance),
        limits.name(entity.process),
    )


def properties(
    report: Report, host_ip: str, units: int, *, supported: bool = False
) -> list[tuple[str, str]]:
    """Give all properties of a report, within so many units of JSON.

    Whether profiling is supported the server takes from the first report, for as long as it keeps
    the process.

    A further property that does not fit is left out as a whole, since half a value would be a
    wrong one; then the command line is cut to what is left.
    """
    container, process = report.container, report.process
    pid, support = ("pid", str(process.pid)), (SUPPORT_PROFILING, SUPPORTED[supported])
    command_line = limits.clean(process.told)
    if container is None:
        pairs = [("host_ip", host_ip), pid]
    else:
        pairs = [
            ("host_ip", limits.name(container.host_ip or host_ip)),
            ("container_ip", limits.name(container.pod_ip)),
            ("container_name", limits.name(container.name)),
            ("pod_name", limits.name(container.pod_name)),
            pid,
        ]
    if not report.properties and len(command_line) <= SHORT_COMMAND_LINE and units >= ROOMY:
        return [*pairs, ("command_line", command_line), support]
    left = units - limits.BRACES - limits.pair_units("command_line", "")
    left -= sum(limits.pair_units(*pair) for pair in (*pairs, support))
    further = []
    kept_free = min(limits.json_units(command_line), LEAST_COMMAND_LINE)
    for pair in ((limits.clean(key), limits.clean(value)) for key, value in report.properties):
        needed = limits.pair_units(*pair)
        if pair[0] not in STANDARD_PROPERTIES and needed <= left - kept_free:
            left -= needed
            further.append(pair)
    return [*pairs, ("command_line", limits.json_prefix(command_line, left)), support, *further]


def announcement(report: Report, host_ip: str, units: int, *, supported: bool = False) -> bytes:
    """Serialise one item of reportProcesses as a frame of its list."""
    kind = EBPFHostProcessMetadata if report.container is None else EBPFKubernetesProcessMetadata
    metadata = kind(
        entity=_entity(report.entity),
        pid=report.process.pid,
        properties=[
            KeyStringValuePair(key=key, value=value)
            for key, value in properties(report, host_ip, units, supported=supported)
        ],
    )
    if isinstance(metadata, EBPFHostProcessMetadata):
        item = EBPFProcessProperties(hostProcess=metadata)
    else:
        item = EBPFProcessProperties(k8sProcess=metadata)
    return frame(item.SerializeToString())


def beat(entity: Entity, *, supported: bool = False) -> bytes:
    """Serialise one item of keepAlive as a frame of its list."""
    item = EBPFProcessPingPkg(
        entityMetadata=_entity(entity),
        properties=[KeyStringValuePair(key=SUPPORT_PROFILING, value=SUPPORTED[supported])],
    )
    return frame(item.SerializeToString())


def listed(frames: Iterable[bytes], agent_id: str) -> bytes:
    """Join frames to the list message of either call."""
    agent = limits.name(agent_id).encode()
    return b"".join((*frames, AGENT_TAG, _varint(len(agent)), agent)) if agent else b"".join(frames)


def frame(item: bytes) -> bytes:
    """Put the tag and the length before a serialised item."""
    return b"".join((ITEM_TAG, _varint(len(item)), item))


def answers(message: bytes) -> Iterator[Answer]:
    """Read what reportProcesses answered; items of neither kind are passed over.

    Raises:
        ValueError: The bytes are no such message.
    """
    try:
        downstream = EBPFReportProcessDownstream.FromString(message)
    except DecodeError as error:
        raise ValueError(f"{len(message)} bytes that are no answer to a report") from error
    for item in downstream.processes:
        kind = item.WhichOneof("process")
        if kind is None:
            continue
        process = item.hostProcess if kind == "hostProcess" else item.k8sProcess
        entity = process.entityMetadata
        yield Answer(
            Told(
                process.pid,
                entity.layer,
                entity.serviceName,
                entity.instanceName,
                entity.processName,
            ),
            item.processId,
        )


def commands(message: bytes) -> tuple[str, ...]:
    """Read the commands that came with the answer to a beat; what is none of them is ignored."""
    if not message:
        return ()
    try:
        return tuple(command.command for command in Commands.FromString(message).commands)
    except DecodeError:
        return ()


def _entity(entity: Entity) -> EBPFProcessEntityMetadata:
    return EBPFProcessEntityMetadata(
        layer=limits.name(entity.layer),
        serviceName=limits.name(entity.service),
        instanceName=limits.name(entity.instance),
        processName=limits.name(entity.process),
        labels=limits.labels(entity.labels),
    )


def _varint(number: int) -> bytes:
    """Encode a length as protobuf does: seven bits a byte, the lowest first."""
    encoded = bytearray()
    while number > 0x7F:  # noqa: PLR2004  # seven bits, as the line above says
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
