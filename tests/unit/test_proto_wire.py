"""The wire format against bytes written by hand from the protocol's table."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
from proto_fields import fields_of

from rover._proto.common import Command_pb2, Common_pb2
from rover._proto.ebpf.profiling import Process_pb2 as pb
from rover._proto.service import KEEP_ALIVE, REPORT_PROCESSES

Pair = Common_pb2.KeyStringValuePair
Entity = pb.EBPFProcessEntityMetadata

PAIR = b"\x0a\x01k\x12\x01v"
ENTITY = (
    b"\x0a\x02L1"  # 1 layer
    b"\x12\x02S1"  # 2 serviceName
    b"\x1a\x02I1"  # 3 instanceName
    b"\x22\x02P1"  # 4 processName
    b"\x2a\x01a\x2a\x01b"  # 5 labels
)
ENTITY_20 = b"\x16" + ENTITY
"""Length 22, then the entity."""
PROCESS = b"\x0a" + ENTITY_20 + b"\x10\xd2\x09" + b"\x1a\x06" + PAIR
"""entity, pid 1234, one property: 35 bytes."""
ANSWERED = b"\x08\xd2\x09" + b"\x12" + ENTITY_20
"""pid 1234, entity: 27 bytes."""

entity = Entity(
    layer="L1", serviceName="S1", instanceName="I1", processName="P1", labels=["a", "b"]
)
pair = Pair(key="k", value="v")
host = pb.EBPFHostProcessMetadata(entity=entity, pid=1234, properties=[pair])
pod = pb.EBPFKubernetesProcessMetadata(entity=entity, pid=1234, properties=[pair])
host_answer = pb.EBPFHostProcessDownstream(pid=1234, entityMetadata=entity)
pod_answer = pb.EBPFKubernetesProcessDownstream(pid=1234, entityMetadata=entity)

WIRE = [
    ("pair, key", Pair(key="k"), b"\x0a\x01k"),
    ("pair, value", Pair(value="v"), b"\x12\x01v"),
    ("pair", pair, PAIR),
    ("command, name", Command_pb2.Command(command="c"), b"\x0a\x01c"),
    ("command, args", Command_pb2.Command(args=[pair]), b"\x12\x06" + PAIR),
    (
        "commands",
        Command_pb2.Commands(commands=[Command_pb2.Command(command="c")]),
        b"\x0a\x03\x0a\x01c",
    ),
    ("entity, layer", Entity(layer="L1"), b"\x0a\x02L1"),
    ("entity, service", Entity(serviceName="S1"), b"\x12\x02S1"),
    ("entity, instance", Entity(instanceName="I1"), b"\x1a\x02I1"),
    ("entity, process", Entity(processName="P1"), b"\x22\x02P1"),
    ("entity, labels", Entity(labels=["a", "b"]), b"\x2a\x01a\x2a\x01b"),
    ("entity, text beyond ASCII", Entity(processName="é\U0001f600"), '"\x06é\U0001f600'.encode()),
    ("entity", entity, ENTITY),
    ("host, entity", pb.EBPFHostProcessMetadata(entity=entity), b"\x0a" + ENTITY_20),
    ("host, pid", pb.EBPFHostProcessMetadata(pid=1234), b"\x10\xd2\x09"),
    ("host, properties", pb.EBPFHostProcessMetadata(properties=[pair]), b"\x1a\x06" + PAIR),
    (
        "host, largest pid of 64-bit Linux",
        pb.EBPFHostProcessMetadata(pid=4194304),
        b"\x10\x80\x80\x80\x02",
    ),
    (
        "host, a negative pid takes ten bytes",
        pb.EBPFHostProcessMetadata(pid=-1),
        b"\x10" + b"\xff" * 9 + b"\x01",
    ),
    ("host", host, PROCESS),
    ("pod, entity", pb.EBPFKubernetesProcessMetadata(entity=entity), b"\x0a" + ENTITY_20),
    ("pod, pid", pb.EBPFKubernetesProcessMetadata(pid=1234), b"\x10\xd2\x09"),
    ("pod, properties", pb.EBPFKubernetesProcessMetadata(properties=[pair]), b"\x1a\x06" + PAIR),
    ("pod", pod, PROCESS),
    ("reported, host", pb.EBPFProcessProperties(hostProcess=host), b"\x0a\x23" + PROCESS),
    ("reported, pod", pb.EBPFProcessProperties(k8sProcess=pod), b"\x12\x23" + PROCESS),
    (
        "report, two processes",
        pb.EBPFProcessReportList(
            processes=[
                pb.EBPFProcessProperties(hostProcess=host),
                pb.EBPFProcessProperties(k8sProcess=pod),
            ]
        ),
        b"\x0a\x25\x0a\x23" + PROCESS + b"\x0a\x25\x12\x23" + PROCESS,
    ),
    ("report, agent", pb.EBPFProcessReportList(ebpfAgentID="id"), b"\x12\x02id"),
    ("host answer, pid", pb.EBPFHostProcessDownstream(pid=1234), b"\x08\xd2\x09"),
    (
        "host answer, entity",
        pb.EBPFHostProcessDownstream(entityMetadata=entity),
        b"\x12" + ENTITY_20,
    ),
    ("host answer", host_answer, ANSWERED),
    ("pod answer, pid", pb.EBPFKubernetesProcessDownstream(pid=1234), b"\x08\xd2\x09"),
    (
        "pod answer, entity",
        pb.EBPFKubernetesProcessDownstream(entityMetadata=entity),
        b"\x12" + ENTITY_20,
    ),
    ("pod answer", pod_answer, ANSWERED),
    ("answered, id", pb.EBPFProcessDownstream(processId="ff"), b"\x0a\x02ff"),
    (
        "answered, host",
        pb.EBPFProcessDownstream(hostProcess=host_answer),
        b"\x12\x1b" + ANSWERED,
    ),
    ("answered, pod", pb.EBPFProcessDownstream(k8sProcess=pod_answer), b"\x1a\x1b" + ANSWERED),
    (
        "answer",
        pb.EBPFReportProcessDownstream(processes=[pb.EBPFProcessDownstream(processId="ff")]),
        b"\x0a\x04\x0a\x02ff",
    ),
    ("ping, entity", pb.EBPFProcessPingPkg(entityMetadata=entity), b"\x0a" + ENTITY_20),
    ("ping, properties", pb.EBPFProcessPingPkg(properties=[pair]), b"\x12\x06" + PAIR),
    (
        "beat, processes",
        pb.EBPFProcessPingPkgList(processes=[pb.EBPFProcessPingPkg(properties=[pair])]),
        b"\x0a\x08\x12\x06" + PAIR,
    ),
    ("beat, agent", pb.EBPFProcessPingPkgList(ebpfAgentID="id"), b"\x12\x02id"),
]
by_name = pytest.mark.parametrize(
    ("message", "wire"), [pytest.param(message, wire, id=name) for name, message, wire in WIRE]
)


@by_name
def test_bytes_of_the_wire_decode_to_the_values(message, wire):
    assert type(message).FromString(wire) == message


@by_name
def test_values_encode_to_the_bytes_of_the_wire(message, wire):
    assert message.SerializeToString(deterministic=True) == wire


TEXT = FieldDescriptor.TYPE_STRING
INT32 = FieldDescriptor.TYPE_INT32
TABLE = {
    pb.EBPFProcessReportList: {
        1: ("processes", "EBPFProcessProperties", True),
        2: ("ebpfAgentID", TEXT, False),
    },
    pb.EBPFProcessProperties: {
        1: ("hostProcess", "EBPFHostProcessMetadata", False),
        2: ("k8sProcess", "EBPFKubernetesProcessMetadata", False),
    },
    pb.EBPFHostProcessMetadata: {
        1: ("entity", "EBPFProcessEntityMetadata", False),
        2: ("pid", INT32, False),
        3: ("properties", "KeyStringValuePair", True),
    },
    pb.EBPFKubernetesProcessMetadata: {
        1: ("entity", "EBPFProcessEntityMetadata", False),
        2: ("pid", INT32, False),
        3: ("properties", "KeyStringValuePair", True),
    },
    pb.EBPFProcessEntityMetadata: {
        1: ("layer", TEXT, False),
        2: ("serviceName", TEXT, False),
        3: ("instanceName", TEXT, False),
        4: ("processName", TEXT, False),
        5: ("labels", TEXT, True),
    },
    pb.EBPFReportProcessDownstream: {1: ("processes", "EBPFProcessDownstream", True)},
    pb.EBPFProcessDownstream: {
        1: ("processId", TEXT, False),
        2: ("hostProcess", "EBPFHostProcessDownstream", False),
        3: ("k8sProcess", "EBPFKubernetesProcessDownstream", False),
    },
    pb.EBPFHostProcessDownstream: {
        1: ("pid", INT32, False),
        2: ("entityMetadata", "EBPFProcessEntityMetadata", False),
    },
    pb.EBPFKubernetesProcessDownstream: {
        1: ("pid", INT32, False),
        2: ("entityMetadata", "EBPFProcessEntityMetadata", False),
    },
    pb.EBPFProcessPingPkgList: {
        1: ("processes", "EBPFProcessPingPkg", True),
        2: ("ebpfAgentID", TEXT, False),
    },
    pb.EBPFProcessPingPkg: {
        1: ("entityMetadata", "EBPFProcessEntityMetadata", False),
        2: ("properties", "KeyStringValuePair", True),
    },
    Command_pb2.Commands: {1: ("commands", "Command", True)},
    Command_pb2.Command: {
        1: ("command", TEXT, False),
        2: ("args", "KeyStringValuePair", True),
    },
    Common_pb2.KeyStringValuePair: {1: ("key", TEXT, False), 2: ("value", TEXT, False)},
}


@pytest.mark.parametrize("message", TABLE, ids=lambda message: message.__name__)
def test_fields_are_those_of_the_protocols_table(message):
    assert message.DESCRIPTOR.full_name == f"skywalking.v3.{message.__name__}"
    assert fields_of(message.DESCRIPTOR) == TABLE[message]


def test_the_table_covers_every_message():
    declared = {
        name
        for file in (pb.DESCRIPTOR, Command_pb2.DESCRIPTOR, Common_pb2.DESCRIPTOR)
        for name in file.message_types_by_name
    }
    assert declared == {message.__name__ for message in TABLE}


@pytest.mark.parametrize(
    ("message", "oneof", "kinds"),
    [
        (pb.EBPFProcessProperties, "metadata", ["hostProcess", "k8sProcess"]),
        (pb.EBPFProcessDownstream, "process", ["hostProcess", "k8sProcess"]),
    ],
)
def test_kinds_of_process_exclude_each_other(message, oneof, kinds):
    declared = message.DESCRIPTOR.oneofs_by_name[oneof]
    assert [field.name for field in declared.fields] == kinds


def test_the_later_kind_on_the_wire_wins():
    both = pb.EBPFProcessProperties.FromString(b"\x0a\x02\x10\x01" + b"\x12\x02\x10\x02")
    assert both.WhichOneof("metadata") == "k8sProcess"
    assert both.k8sProcess.pid == 2


def test_fields_of_a_newer_protocol_are_passed_over():
    assert Entity.FromString(b"\x0a\x02L1" + b"\x9a\x06\x03new").layer == "L1"


def test_text_that_is_not_utf_8_does_not_decode():
    with pytest.raises(DecodeError):
        Entity.FromString(b"\x0a\x02\xff\xfe")


def test_methods_have_the_paths_of_the_protocol():
    service = pb.DESCRIPTOR.services_by_name["EBPFProcessService"]
    assert f"/{service.full_name}/reportProcesses" == REPORT_PROCESSES
    assert f"/{service.full_name}/keepAlive" == KEEP_ALIVE
    assert {
        name: (method.input_type.name, method.output_type.name)
        for name, method in service.methods_by_name.items()
    } == {
        "reportProcesses": ("EBPFProcessReportList", "EBPFReportProcessDownstream"),
        "keepAlive": ("EBPFProcessPingPkgList", "Commands"),
    }
