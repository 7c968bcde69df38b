"""The wire format of the profiling services against bytes written by hand from the table."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor import FieldDescriptor
from proto_fields import fields_of

from rover._proto.ebpf.profiling import Continuous_pb2 as continuous
from rover._proto.ebpf.profiling import Profile_pb2 as pb
from rover._proto.service import (
    COLLECT_PROFILING_DATA,
    QUERY_POLICIES,
    QUERY_TASKS,
    REPORT_PROFILING_TASK,
)

STACK = (
    b"\x08\x01"  # 1 stackType
    b"\x10\x2a"  # 2 stackId
    b"\x1a\x04leaf\x1a\x04main"  # 3 stackSymbols
)
TASK = (
    b"\x0a\x02T1"  # 1 taskId
    b"\x12\x02P1"  # 2 processId
    b"\x18\xe8\x07"  # 3 profilingStartTime
    b"\x20\xe9\x07"  # 4 currentTime
)
ON_CPU = b"\x0a\x10" + STACK + b"\x10\x03"
OFF_CPU = b"\x0a\x10" + STACK + b"\x10\x03" + b"\x18\x80\x94\xeb\xdc\x03"
CAUSE = (
    b"\x08\x02"  # 1 type
    b"\x12\x12\x09\x00\x00\x00\x00\x00\x00\xf0\x3f\x11\x00\x00\x00\x00\x00\x00\x00\x40"
)
URI = b"\x12\x02/a\x19\x00\x00\x00\x00\x00\x00\xf0\x3f\x21\x00\x00\x00\x00\x00\x00\x00\x40"

stack = pb.EBPFProfilingStackMetadata(
    stackType=pb.PROCESS_USER_SPACE, stackId=42, stackSymbols=["leaf", "main"]
)
task = pb.EBPFProfilingTaskMetadata(
    taskId="T1", processId="P1", profilingStartTime=1000, currentTime=1001
)
on_cpu = pb.EBPFOnCPUProfiling(stacks=[stack], dumpCount=3)
off_cpu = pb.EBPFOffCPUProfiling(stacks=[stack], switchCount=3, duration=1_000_000_000)
cause = continuous.ContinuousProfilingCause(
    type=continuous.SystemLoad,
    singleValue=continuous.ContinuousProfilingSingleValueCause(threshold=1, current=2),
)

WIRE = [
    (
        "query",
        pb.EBPFProfilingTaskQuery(roverInstanceId="id", latestUpdateTime=300),
        b"\x0a\x02id\x10\xac\x02",
    ),
    ("stack", stack, STACK),
    (
        "stack of the kernel",
        pb.EBPFProfilingStackMetadata(stackType=pb.PROCESS_KERNEL_SPACE, stackSymbols=["k"]),
        b"\x1a\x01k",
    ),
    ("task", task, TASK),
    ("on cpu", on_cpu, ON_CPU),
    ("off cpu", off_cpu, OFF_CPU),
    (
        "data, first of its task",
        pb.EBPFProfilingData(task=task, onCPU=on_cpu),
        b"\x0a\x0e" + TASK + b"\x12\x14" + ON_CPU,
    ),
    ("data, off cpu", pb.EBPFProfilingData(offCPU=off_cpu), b"\x1a\x1a" + OFF_CPU),
    (
        "policy query",
        continuous.ContinuousProfilingPolicyQuery(
            policies=[continuous.ContinuousProfilingServicePolicyQuery(serviceName="s", uuid="u")]
        ),
        b"\x0a\x06\x0a\x01s\x12\x01u",
    ),
    ("cause", cause, CAUSE),
    (
        "cause, path",
        continuous.ContinuousProfilingURICause(path="/a", threshold=1, current=2),
        URI,
    ),
    ("cause, regex", continuous.ContinuousProfilingURICause(regex="/a"), b"\x0a\x02/a"),
    (
        "cause of a path",
        continuous.ContinuousProfilingCause(
            type=continuous.HTTPErrorRate,
            uri=continuous.ContinuousProfilingURICause(path="/a", threshold=1, current=2),
        ),
        b"\x08\x03\x1a\x16" + URI,
    ),
    (
        "continuous report, on cpu",
        continuous.ContinuousProfilingReport(
            layer="L",
            serviceName="S",
            instanceName="I",
            processName="P",
            causes=[cause],
            duration=600,
            onCPU=continuous.ContinuousOnCPUProfilingTask(),
        ),
        b"\x0a\x01L\x12\x01S\x1a\x01I\x22\x01P\x2a\x16" + CAUSE + b"\x30\xd8\x04\x3a\x00",
    ),
    (
        "continuous report, off cpu",
        continuous.ContinuousProfilingReport(offCPU=continuous.ContinuousOffCPUProfilingTask()),
        b"\x42\x00",
    ),
    (
        "continuous report, network",
        continuous.ContinuousProfilingReport(
            network=continuous.ContinuousNetworkProfilingTask(samplingURIRegexes=["a"])
        ),
        b"\x4a\x03\x0a\x01a",
    ),
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
INT64 = FieldDescriptor.TYPE_INT64
ENUM = FieldDescriptor.TYPE_ENUM
DOUBLE = FieldDescriptor.TYPE_DOUBLE
STACKS = ("stacks", "EBPFProfilingStackMetadata", True)
TABLE = {
    pb.EBPFProfilingTaskQuery: {
        1: ("roverInstanceId", TEXT, False),
        2: ("latestUpdateTime", INT64, False),
    },
    pb.EBPFProfilingData: {
        1: ("task", "EBPFProfilingTaskMetadata", False),
        2: ("onCPU", "EBPFOnCPUProfiling", False),
        3: ("offCPU", "EBPFOffCPUProfiling", False),
    },
    pb.EBPFProfilingTaskMetadata: {
        1: ("taskId", TEXT, False),
        2: ("processId", TEXT, False),
        3: ("profilingStartTime", INT64, False),
        4: ("currentTime", INT64, False),
    },
    pb.EBPFProfilingStackMetadata: {
        1: ("stackType", ENUM, False),
        2: ("stackId", INT32, False),
        3: ("stackSymbols", TEXT, True),
    },
    pb.EBPFOnCPUProfiling: {1: STACKS, 2: ("dumpCount", INT32, False)},
    pb.EBPFOffCPUProfiling: {
        1: STACKS,
        2: ("switchCount", INT32, False),
        3: ("duration", INT64, False),
    },
    continuous.ContinuousProfilingPolicyQuery: {
        1: ("policies", "ContinuousProfilingServicePolicyQuery", True)
    },
    continuous.ContinuousProfilingServicePolicyQuery: {
        1: ("serviceName", TEXT, False),
        2: ("uuid", TEXT, False),
    },
    continuous.ContinuousProfilingReport: {
        1: ("layer", TEXT, False),
        2: ("serviceName", TEXT, False),
        3: ("instanceName", TEXT, False),
        4: ("processName", TEXT, False),
        5: ("causes", "ContinuousProfilingCause", True),
        6: ("duration", INT32, False),
        7: ("onCPU", "ContinuousOnCPUProfilingTask", False),
        8: ("offCPU", "ContinuousOffCPUProfilingTask", False),
        9: ("network", "ContinuousNetworkProfilingTask", False),
    },
    continuous.ContinuousProfilingCause: {
        1: ("type", ENUM, False),
        2: ("singleValue", "ContinuousProfilingSingleValueCause", False),
        3: ("uri", "ContinuousProfilingURICause", False),
    },
    continuous.ContinuousProfilingSingleValueCause: {
        1: ("threshold", DOUBLE, False),
        2: ("current", DOUBLE, False),
    },
    continuous.ContinuousProfilingURICause: {
        1: ("regex", TEXT, False),
        2: ("path", TEXT, False),
        3: ("threshold", DOUBLE, False),
        4: ("current", DOUBLE, False),
    },
    continuous.ContinuousOnCPUProfilingTask: {},
    continuous.ContinuousOffCPUProfilingTask: {},
    continuous.ContinuousNetworkProfilingTask: {1: ("samplingURIRegexes", TEXT, True)},
}


@pytest.mark.parametrize("message", TABLE, ids=lambda message: message.__name__)
def test_fields_are_those_of_the_protocols_table(message):
    assert message.DESCRIPTOR.full_name == f"skywalking.v3.{message.__name__}"
    assert fields_of(message.DESCRIPTOR) == TABLE[message]


def test_the_table_covers_every_message():
    declared = {name for file in (pb, continuous) for name in file.DESCRIPTOR.message_types_by_name}
    assert declared == {message.__name__ for message in TABLE}


@pytest.mark.parametrize(
    ("message", "oneof", "kinds"),
    [
        (pb.EBPFProfilingData, "profiling", ["onCPU", "offCPU"]),
        (continuous.ContinuousProfilingReport, "targetTask", ["onCPU", "offCPU", "network"]),
        (continuous.ContinuousProfilingCause, "cause", ["singleValue", "uri"]),
        (continuous.ContinuousProfilingURICause, "uri", ["regex", "path"]),
    ],
)
def test_kinds_exclude_each_other(message, oneof, kinds):
    declared = message.DESCRIPTOR.oneofs_by_name[oneof]
    assert [field.name for field in declared.fields] == kinds


def test_words_have_the_numbers_of_the_protocol():
    assert dict(pb.EBPFProfilingStackType.items()) == {
        "PROCESS_KERNEL_SPACE": 0,
        "PROCESS_USER_SPACE": 1,
    }
    assert dict(continuous.ContinuousProfilingTriggeredMonitorType.items()) == {
        "ProcessCPU": 0,
        "ProcessThreadCount": 1,
        "SystemLoad": 2,
        "HTTPErrorRate": 3,
        "HTTPAvgResponseTime": 4,
    }


def test_methods_have_the_paths_of_the_protocol():
    service = pb.DESCRIPTOR.services_by_name["EBPFProfilingService"]
    assert f"/{service.full_name}/queryTasks" == QUERY_TASKS
    assert f"/{service.full_name}/collectProfilingData" == COLLECT_PROFILING_DATA
    service = continuous.DESCRIPTOR.services_by_name["ContinuousProfilingService"]
    assert f"/{service.full_name}/queryPolicies" == QUERY_POLICIES
    assert f"/{service.full_name}/reportProfilingTask" == REPORT_PROFILING_TASK
