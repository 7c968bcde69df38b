from __future__ import annotations

import pytest
from backend_wire import AGENT, beat, host, ping, pod, report

from rover._proto.ebpf.profiling.Process_pb2 import (
    EBPFProcessPingPkg,
    EBPFProcessProperties,
    EBPFReportProcessDownstream,
)
from rover.backend.ids import process_id
from rover.backend.state import State
from rover.backend.storage import FailedBeat
from rover.config.layers import LAYERS_10_1, LAYERS_LATER


@pytest.fixture
def state():
    return State()


def only(state):
    (process,) = state.snapshot().processes
    return process


def test_an_answer_keeps_the_order_and_echoes_pid_and_entity(state):
    items = [host("b", 7, labels=["x"]), pod("a", 9), host("c", 8, layer="K8S")]
    answer = state.report(report(*items))
    assert [item.processId for item in answer.processes] == [
        process_id("s", "i", name) for name in "bac"
    ]
    first, second, third = answer.processes
    assert (first.hostProcess.pid, first.hostProcess.entityMetadata) == (
        7,
        items[0].hostProcess.entity,
    )
    assert (second.k8sProcess.pid, second.k8sProcess.entityMetadata) == (
        9,
        items[1].k8sProcess.entity,
    )
    assert third.WhichOneof("process") == "hostProcess"


def test_an_echo_survives_the_wire_even_when_all_of_it_is_empty(state):
    empty = EBPFProcessProperties()
    empty.k8sProcess.SetInParent()
    answer = state.report(report(empty))
    read = EBPFReportProcessDownstream.FromString(answer.SerializeToString())
    assert read.processes[0].WhichOneof("process") == "k8sProcess"
    assert read.processes[0].processId == process_id("", "", "")


def test_an_item_of_neither_kind_is_dropped_and_not_echoed(state):
    answer = state.report(report(host("a"), EBPFProcessProperties(), host("b", 2)))
    assert len(answer.processes) == 2
    (drop,) = state.snapshot().dropped
    assert (drop.what, drop.entity) == ("item", None)


def test_a_report_alone_makes_nothing_visible(state):
    state.report(report(host()))
    (service,) = state.snapshot().services
    assert not service.listed
    assert not service.instances[0].listed
    assert not only(state).visible


def test_a_beat_alone_leaves_the_process_without_type_pid_and_full_properties(state):
    state.beat(beat(ping(properties={"support_ebpf_profiling": "false"})))
    process = only(state)
    assert (process.kind, process.pid, process.visible) == ("", None, False)
    assert state.snapshot().services[0].listed


@pytest.mark.parametrize("report_first", [True, False])
def test_both_calls_in_any_order_make_a_process_visible(state, report_first):
    calls = [lambda: state.report(report(host(pid=5))), lambda: state.beat(beat(ping()))]
    for call in calls if report_first else reversed(calls):
        call()
    process = only(state)
    assert (process.visible, process.pid, process.kind) == (True, 5, "VM")
    assert (process.reports, process.pings) == (1, 1)


def test_kinds_are_those_of_the_server(state):
    state.report(report(host("a"), pod("b")))
    assert [process.kind for process in state.snapshot().processes] == ["VM", "KUBERNETES"]


@pytest.mark.parametrize("layer", ["", "os_linux", " OS_LINUX", "OS_LINUX ", "KONG", "NOPE"])
def test_a_layer_the_server_does_not_know_fails_the_beat_from_its_item_on(state, layer):
    failed = state.beat(beat(ping("a"), ping("b", layer=layer), ping("c")))
    assert isinstance(failed, FailedBeat)
    assert (failed.at_item, failed.layer) == (1, layer)
    assert [process.entity.process for process in state.snapshot().processes] == ["a"]


def test_an_item_without_entity_fails_the_beat(state):
    assert state.beat(beat(ping("a"), EBPFProcessPingPkg())).at_item == 1


def test_the_layer_of_a_report_is_not_looked_at(state):
    answer = state.report(report(host(layer="NOPE")))
    assert answer.processes[0].processId


@pytest.mark.parametrize("layer", sorted(LAYERS_10_1))
def test_every_layer_of_10_1_is_accepted(state, layer):
    assert state.beat(beat(ping(layer=layer))) is None


@pytest.mark.parametrize("layer", sorted(LAYERS_LATER))
def test_later_layers_are_accepted_where_the_server_is_told_to_be_newer(layer):
    assert State(LAYERS_10_1 | LAYERS_LATER).beat(beat(ping(layer=layer))) is None


def test_the_lists_of_layers_are_as_long_as_the_servers():
    assert (len(LAYERS_10_1), len(LAYERS_LATER)) == (40, 11)


def test_undefined_is_accepted_but_its_service_never_listed(state):
    state.report(report(host(layer="UNDEFINED")))
    assert state.beat(beat(ping(layer="UNDEFINED"))) is None
    assert not state.snapshot().services[0].listed
    assert not only(state).visible


def test_a_service_is_listed_once_a_second_layer_is_not_undefined(state):
    state.report(report(host("a", layer="UNDEFINED")))
    state.beat(beat(ping("a", layer="UNDEFINED")))
    state.beat(beat(ping("b", layer="MESH")))
    (service,) = state.snapshot().services
    assert (service.listed, service.layers) == (True, ("MESH", "UNDEFINED"))
    assert state.snapshot().find(process="a")[0].visible


def test_properties_merge_key_by_key_and_the_last_wins(state):
    state.report(report(host(properties={"host_ip": "10.0.0.1", "pid": "1"})))
    state.report(report(host(properties={"pid": "2"})))
    state.beat(beat(ping(properties={"support_ebpf_profiling": "true"})))
    assert only(state).properties == {
        "host_ip": "10.0.0.1",
        "pid": "2",
        "support_ebpf_profiling": "true",
    }


@pytest.mark.parametrize(("first", "sticks"), [("true", True), ("false", False), (None, False)])
@pytest.mark.parametrize("later", ["true", "false"])
def test_the_first_word_on_profiling_sticks(state, first, sticks, later):
    properties = {} if first is None else {"support_ebpf_profiling": first}
    state.report(report(host(properties=properties)))
    state.beat(beat(ping(properties={"support_ebpf_profiling": later})))
    state.report(report(host(properties={"support_ebpf_profiling": later})))
    assert only(state).supports_profiling is sticks


def test_empty_labels_never_clear_stored_ones(state):
    state.report(report(host(labels=["a", "b"])))
    state.beat(beat(ping()))
    assert only(state).entity.labels == ("a", "b")


def test_labels_that_are_there_replace_stored_ones(state):
    state.report(report(host(labels=["a", "b"])))
    state.beat(beat(ping(labels=["c"])))
    assert only(state).entity.labels == ("c",)
    assert state.snapshot().services[0].labels == ("a", "b", "c")


@pytest.mark.parametrize(("later", "kept"), [("other", "other"), ("", AGENT), (" \t", AGENT)])
def test_an_agent_id_overwrites_unless_it_is_blank(state, later, kept):
    state.report(report(host()))
    state.beat(beat(ping(), agent=later))
    assert only(state).agent_id == kept


def test_two_processes_of_one_entity_share_a_row(state):
    state.report(report(host(pid=1, properties={"a": "1"}), host(pid=2, properties={"b": "2"})))
    process = only(state)
    assert (process.pid, process.properties, process.reports) == (2, {"a": "1", "b": "2"}, 2)


def test_the_layer_does_not_tell_processes_apart(state):
    state.report(report(host(layer="MESH"), host(layer="K8S_SERVICE")))
    assert only(state).reports == 2


def test_names_beyond_70_units_share_a_row_and_are_listed_cut(state):
    state.report(report(host(service="s" * 71), host(service="s" * 72)))
    assert only(state).reports == 2
    assert state.snapshot().services[0].name == "s" * 70


LIMITS = [
    ("process name", {"process": "p" * 500}, {"process": "p" * 501}),
    ("process name", {"process": "\U0001f600" * 250}, {"process": "\U0001f600" * 251}),
    (
        "labels as JSON",
        {"labels": [*["l" * 40] * 11, "l" * 23]},
        {"labels": [*["l" * 40] * 11, "l" * 24]},
    ),
    (
        "properties as JSON",
        {"properties": {"k": "v" * 49_992}},
        {"properties": {"k": "v" * 49_993}},
    ),
    (
        "properties as JSON",
        {"properties": {"k": "<" * 8_332}},
        {"properties": {"k": "<" * 8_333}},
    ),
]


@pytest.mark.parametrize(("what", "fits", "too_long"), LIMITS)
def test_a_row_over_a_limit_is_answered_and_dropped_in_silence(state, what, fits, too_long):
    answer = state.report(report(host(**too_long)))
    assert answer.processes[0].processId
    assert state.snapshot().processes == ()
    assert state.snapshot().dropped[0].reason.startswith(what)
    state.report(report(host(**fits)))
    assert len(state.snapshot().processes) == 1


def test_an_agent_id_over_the_limit_drops_its_rows(state):
    state.report(report(host(), agent="a" * 501))
    assert state.snapshot().processes == ()
    assert state.snapshot().dropped[0].reason == "agent id: 501 UTF-16 units, 500 fit"


def test_merged_properties_over_the_limit_leave_the_row_as_it_was(state):
    state.report(report(host(properties={"a": "v" * 30_000})))
    state.report(report(host(properties={"b": "v" * 30_000})))
    assert list(only(state).properties) == ["a"]
    assert state.snapshot().dropped_total == 1


def test_a_beat_for_a_row_over_a_limit_still_lists_its_service(state):
    state.beat(beat(ping("p" * 501)))
    (service,) = state.snapshot().services
    assert service.listed
    assert service.instances[0].processes == ()


def test_one_label_over_50_units_is_lost_alone(state):
    state.report(report(host(labels=["good", "l" * 51, "m" * 50])))
    assert state.snapshot().services[0].labels == ("good", "m" * 50)
    (drop,) = state.snapshot().dropped
    assert (drop.what, drop.reason) == ("label", "label: 51 UTF-16 units, 50 fit")
    assert only(state).pid == 1


def test_nul_and_control_characters_pass(state):
    state.report(report(host("a\x00\x1b[31m", properties={"command_line": "\x00\x01"})))
    assert only(state).entity.process == "a\x00\x1b[31m"


def test_the_last_ping_has_the_precision_of_a_minute(state):
    state.report(report(host()))
    assert len(str(only(state).last_ping_minute)) == len("202501311259")
