from __future__ import annotations

import pytest
from backend_wire import beat, host, ping, pod, report

from rover._proto.ebpf.profiling.Process_pb2 import EBPFProcessPingPkg, EBPFProcessProperties
from rover.backend.records import Rule
from rover.backend.state import State


@pytest.fixture
def state():
    return State()


def broken(state):
    return [violation.rule for violation in state.snapshot().violations]


def test_a_careful_agent_breaks_no_rule(state):
    for _ in range(3):
        state.report(report(host("a", 1), host("b", 2), pod("c", 3, labels=["x"])))
        for _ in range(10):
            state.beat(beat(ping("a"), ping("b"), ping("c", labels=["x"])))
    assert broken(state) == []


def test_one_entity_for_two_pids_in_one_report(state):
    state.report(report(host(pid=1), host(pid=2)))
    assert broken(state) == [Rule.ENTITY_OF_TWO_PIDS]


def test_names_that_differ_only_behind_the_servers_cut_are_one_entity(state):
    state.report(report(host(pid=1, service="s" * 70), host(pid=2, service="s" * 71)))
    assert broken(state) == [Rule.ENTITY_OF_TWO_PIDS]


def test_an_entity_that_goes_back_to_a_former_pid_had_two_at_once(state):
    for pid in (1, 2, 1):
        state.report(report(host(pid=pid)))
    assert broken(state) == [Rule.ENTITY_OF_TWO_PIDS]
    assert "pid 1 again after pid 2" in str(state.snapshot().violations[0])


def test_a_follower_may_take_an_entity_over(state):
    for pid in (1, 2, 3, 3, 4):
        state.report(report(host(pid=pid)))
    assert broken(state) == []


def test_one_process_may_have_several_entities(state):
    state.report(report(host("a", 1), host("b", 1), host("b", 1, service="other")))
    assert broken(state) == []


def test_one_process_may_stand_under_one_name_in_two_layers(state):
    state.report(report(pod(pid=1, layer="MESH"), pod(pid=1, layer="K8S_SERVICE")))
    state.beat(beat(ping(layer="MESH"), ping(layer="K8S_SERVICE")))
    assert broken(state) == []


def test_two_processes_under_one_name_in_two_layers_are_one_row_at_the_server(state):
    state.report(report(pod(pid=1, layer="MESH"), pod(pid=2, layer="MESH_DP")))
    assert broken(state) == [Rule.ENTITY_OF_TWO_PIDS]


def test_one_entity_twice_in_one_message(state):
    state.report(report(host(), host()))
    state.beat(beat(ping(), ping()))
    assert broken(state) == [Rule.ENTITY_TWICE] * 2


def test_a_beat_before_any_report_is_a_beat_of_an_unknown_process(state):
    state.beat(beat(ping()))
    state.report(report(host()))
    state.beat(beat(ping()))
    assert broken(state) == [Rule.UNKNOWN_BEAT]


def test_beats_that_go_on_without_a_report_are_told_each_time(state):
    for _ in range(3):
        state.beat(beat(ping()))
    assert broken(state) == [Rule.UNKNOWN_BEAT, Rule.BEAT_WITHOUT_REPORT, Rule.BEAT_WITHOUT_REPORT]


def test_one_beat_is_forgiven_after_the_backend_lost_its_memory(state):
    state.report(report(host()))
    state.beat(beat(ping()))
    state.forget()
    state.beat(beat(ping()))
    assert broken(state) == []
    state.beat(beat(ping()))
    assert broken(state) == [Rule.BEAT_WITHOUT_REPORT]


def test_another_agent_id_for_the_same_entity(state):
    state.report(report(host(), agent="first"))
    state.beat(beat(ping(), agent="second"))
    assert broken(state) == [Rule.AGENT_ID_CHANGED]
    assert state.snapshot().violations[0].agent_id == "second"


@pytest.mark.parametrize("agent", ["", "  \t"])
def test_a_blank_agent_id(state, agent):
    state.report(report(host(), agent=agent))
    assert broken(state) == [Rule.AGENT_ID_MISSING]


@pytest.mark.parametrize("layer", ["", "os_linux", "KONG", "UNDEFINED"])
def test_a_layer_that_fails_beats_or_is_never_listed(state, layer):
    state.report(report(host(layer=layer)))
    state.beat(beat(ping(layer=layer)))
    assert broken(state) == [Rule.BAD_LAYER] * 2


@pytest.mark.parametrize("names", [{"process": ""}, {"service": " "}, {"instance": "\x00"}])
def test_a_name_that_is_missing(state, names):
    state.report(report(host(**names)))
    assert broken(state) == [Rule.NAME_MISSING]


def test_a_beat_without_entity_breaks_every_rule_of_an_entity(state):
    state.beat(beat(EBPFProcessPingPkg()))
    assert broken(state) == [Rule.BAD_LAYER, *[Rule.NAME_MISSING] * 3, Rule.UNKNOWN_BEAT]


@pytest.mark.parametrize(
    "item",
    [
        {"process": "p" * 501},
        {"service": "s" * 501},
        {"instance": "\U0001f600" * 251},
        {"labels": ["l" * 51]},
        {"labels": [f"{at:040}" for at in range(12)]},
        {"properties": {"k": "v" * 50_000}},
    ],
)
def test_what_the_server_would_lose_in_silence_is_too_long(state, item):
    state.report(report(host(**item)))
    assert broken(state) == [Rule.TOO_LONG]


def test_an_agent_id_may_be_too_long_as_well(state):
    state.report(report(host(), agent="a" * 501))
    assert broken(state) == [Rule.TOO_LONG]


def test_an_item_of_neither_kind(state):
    state.report(report(EBPFProcessProperties()))
    assert broken(state) == [Rule.EMPTY_ITEM]


@pytest.mark.parametrize("pid", [0, -1])
def test_a_pid_that_no_process_has(state, pid):
    state.report(report(host(pid=pid)))
    assert broken(state) == [Rule.BAD_PID]


def test_an_entity_is_looked_at_again_when_it_changed(state):
    state.report(report(host(labels=["ok"])))
    state.report(report(host(labels=["l" * 51])))
    state.report(report(host(labels=["l" * 51])))
    assert broken(state) == [Rule.TOO_LONG] * 2


def test_a_violation_reads_as_a_sentence_with_its_entity(state):
    state.report(report(host("nginx", 0, service="web")))
    assert str(state.snapshot().violations[0]) == (
        "BAD_PID: a pid that no process has: pid 0 (reportProcesses, OS_LINUX / web / i / nginx)"
    )


def test_the_first_thousand_violations_are_kept_and_all_are_counted(state):
    for _ in range(1_100):
        state.report(report(agent=""))
    held = state.snapshot()
    assert (len(held.violations), held.violations_total) == (1_000, 1_100)
