"""Messages hold what the contract says, framed by hand as protobuf itself would."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover._proto.common.Command_pb2 import Command, Commands
from rover._proto.ebpf.profiling.Process_pb2 import (
    EBPFProcessDownstream,
    EBPFProcessPingPkg,
    EBPFProcessPingPkgList,
    EBPFProcessProperties,
    EBPFProcessReportList,
    EBPFReportProcessDownstream,
)
from rover.backend.limits import properties_units
from rover.model import PROPERTIES_LIMIT, Container, Entity, Process, ProcessKey, Report
from rover.reporter import messages
from rover.reporter.messages import Answer, Told

ENTITY = Entity("OS_LINUX", "shop", "host-a", "sleep", ("blue",))
PROCESS = Process(
    key=ProcessKey(4711, 1),
    ppid=1,
    name="sleep",
    exe="/usr/bin/sleep",
    arguments=b"sleep\0001000",
    cwd="/",
    uid=0,
    cgroup="",
    pid_namespace=0,
    mount_namespace=0,
    namespace_pid=1,
    image=0,
)
POD = Container("c" * 64, "app", "shop-1", "default", "10.1.2.3", "192.0.2.9")
PLENTY = 48_000

entities = st.builds(
    Entity, *[st.text(max_size=20)] * 4, st.lists(st.text(max_size=60), max_size=5).map(tuple)
)


def item(report, units=PLENTY):
    listed = messages.listed([messages.announcement(report, "192.0.2.1", units)], "agent")
    (found,) = EBPFProcessReportList.FromString(listed).processes
    return found


def properties(metadata):
    return [(pair.key, pair.value) for pair in metadata.properties]


def test_a_host_process_carries_its_four_properties_in_order():
    host = item(Report(ENTITY, PROCESS)).hostProcess
    assert host.pid == 4711
    assert properties(host) == [
        ("host_ip", "192.0.2.1"),
        ("pid", "4711"),
        ("command_line", "sleep 1000"),
        ("support_ebpf_profiling", "false"),
    ]


def test_a_pod_process_carries_its_seven_properties_in_order():
    pod = item(Report(ENTITY, PROCESS, POD)).k8sProcess
    assert properties(pod) == [
        ("host_ip", "192.0.2.9"),
        ("container_ip", "10.1.2.3"),
        ("container_name", "app"),
        ("pod_name", "shop-1"),
        ("pid", "4711"),
        ("command_line", "sleep 1000"),
        ("support_ebpf_profiling", "false"),
    ]


def test_a_pod_without_a_host_address_gets_the_agents():
    pod = item(Report(ENTITY, PROCESS, replace(POD, host_ip=""))).k8sProcess
    assert ("host_ip", "192.0.2.1") in properties(pod)


def test_further_properties_follow_and_never_replace_the_standard_ones():
    host = item(
        Report(ENTITY, PROCESS, properties=(("language", "java"), ("pid", "1")))
    ).hostProcess
    assert properties(host)[-1] == ("language", "java")
    assert [key for key, _ in properties(host)].count("pid") == 1
    assert dict(properties(host))["pid"] == "4711"


def test_a_beat_carries_the_entity_and_whether_profiling_is_supported():
    listed = messages.listed([messages.beat(ENTITY)], "agent")
    beat = EBPFProcessPingPkgList.FromString(listed)
    (ping,) = beat.processes
    assert beat.ebpfAgentID == "agent"
    assert properties(ping) == [("support_ebpf_profiling", "false")]
    entity = ping.entityMetadata
    assert (entity.layer, entity.serviceName, entity.instanceName, entity.processName) == (
        "OS_LINUX",
        "shop",
        "host-a",
        "sleep",
    )
    assert list(entity.labels) == ["blue"]


@given(st.lists(entities, max_size=5), st.text(max_size=600))
def test_beats_framed_by_hand_are_bit_for_bit_protobufs_own(listed, agent_id):
    beat = EBPFProcessPingPkgList(ebpfAgentID=messages.limits.name(agent_id))
    for entity in listed:
        frame = messages.beat(entity)
        beat.processes.append(EBPFProcessPingPkgList.FromString(frame).processes[0])
    framed = messages.listed(map(messages.beat, listed), agent_id)
    assert framed == beat.SerializeToString(deterministic=True)


@given(st.binary(max_size=300), st.integers(0, 3))
def test_frames_of_every_length_are_read_back(filler, power):
    inner = EBPFProcessPingPkg()
    inner.entityMetadata.processName = (filler.hex() or "x") * (9**power)
    listed = EBPFProcessPingPkgList(processes=[inner])
    assert messages.frame(inner.SerializeToString()) == listed.SerializeToString()


@given(
    st.text(max_size=300) | st.integers(0, 70_000).map("=".__mul__),
    st.lists(st.tuples(st.text(max_size=20), st.text(max_size=9000)), max_size=8).map(tuple),
    st.sampled_from([1_000, 10_000, PLENTY]),
    st.sampled_from([None, POD]),
)
def test_properties_never_exceed_their_limit(command_line, further, units, container):
    report = Report(ENTITY, replace(PROCESS, arguments=command_line.encode()), container, further)
    pairs = dict(messages.properties(report, "192.0.2.1", units))
    assert properties_units(pairs) <= min(units, PROPERTIES_LIMIT)
    assert command_line.replace("\0", " ").startswith(pairs["command_line"])


def test_a_long_command_line_uses_the_room_there_is():
    report = Report(ENTITY, replace(PROCESS, arguments=b"x" * 2_000_000))
    pairs = dict(messages.properties(report, "192.0.2.1", PLENTY))
    assert PLENTY - 10 <= properties_units(pairs) <= PLENTY


def test_a_huge_further_property_is_left_out_whole_and_the_command_line_stays():
    report = Report(
        ENTITY,
        replace(PROCESS, arguments=b"x" * 25_000),
        properties=(("huge", "y" * 30_000), ("small", "z")),
    )
    pairs = dict(messages.properties(report, "192.0.2.1", PLENTY))
    assert pairs["command_line"] == "x" * 25_000
    assert "huge" not in pairs
    assert pairs["small"] == "z"


@pytest.mark.parametrize("text", ["\udcff", "a\ud800b", "\0\x01", "\U0001f600" * 400])
def test_text_that_utf8_cannot_carry_is_sent_all_the_same(text):
    report = Report(
        Entity(text, text, text, text, (text,)),
        replace(PROCESS, arguments=text.encode("utf-8", "surrogatepass")),
        replace(POD, name=text, pod_name=text),
        ((text, text),),
    )
    assert item(report).WhichOneof("metadata") == "k8sProcess"
    assert messages.listed([messages.beat(report.entity)], text)


def downstream(kind, pid, process, process_id):
    one = EBPFProcessDownstream(processId=process_id)
    held = getattr(one, kind)
    held.pid = pid
    held.entityMetadata.layer = "OS_LINUX"
    held.entityMetadata.serviceName = "shop"
    held.entityMetadata.instanceName = "host-a"
    held.entityMetadata.processName = process
    return one


def test_an_answer_names_what_was_told_with_its_id():
    answer = EBPFReportProcessDownstream(
        processes=[
            downstream("hostProcess", 4711, "sleep", "id-1"),
            EBPFProcessDownstream(processId="neither"),
            downstream("k8sProcess", 4712, "sleep", ""),
        ]
    ).SerializeToString()
    assert list(messages.answers(answer)) == [
        Answer(messages.told(Report(ENTITY, PROCESS)), "id-1"),
        Answer(Told(4712, "OS_LINUX", "shop", "host-a", "sleep"), ""),
    ]


def test_what_is_told_is_what_the_server_repeats_of_cut_names():
    report = Report(Entity("L", "s" * 600, "\ud800", "p"), PROCESS)
    sent = item(report)
    assert isinstance(sent, EBPFProcessProperties)
    entity = sent.hostProcess.entity
    assert messages.told(report) == Told(
        4711, entity.layer, entity.serviceName, entity.instanceName, entity.processName
    )


def test_bytes_that_are_no_answer_are_a_value_error():
    with pytest.raises(ValueError, match="3 bytes"):
        list(messages.answers(b"\xff\xff\xff"))


@given(st.binary(max_size=60))
def test_no_bytes_in_place_of_commands_raise(content):
    assert isinstance(messages.commands(content), tuple)


def test_commands_are_named():
    sent = Commands(commands=[Command(command="EBPFProfilingTaskQuery")]).SerializeToString()
    assert messages.commands(sent) == ("EBPFProfilingTaskQuery",)
