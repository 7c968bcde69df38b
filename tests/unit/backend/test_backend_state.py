from __future__ import annotations

import dataclasses
import json
import logging
import threading
import time

import pytest
from backend_wire import AGENT, beat, host, ping, report

from rover.backend.records import Call, Stamp
from rover.backend.state import State


@pytest.fixture
def state():
    return State()


def test_a_snapshot_stays_as_it_was(state):
    state.report(report(host("a")))
    before = state.snapshot()
    state.report(report(host("b", 2)))
    assert [process.entity.process for process in before.processes] == ["a"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        before.processes[0].pid = 9


def test_services_instances_and_processes_stand_in_the_order_they_came(state):
    state.report(
        report(
            host("b", 1, service="y"),
            host("a", 2, service="x"),
            host("a", 3, service="y"),
            host("a", 4, service="y", instance="other"),
        )
    )
    assert [
        (service.name, instance.name, [process.pid for process in instance.processes])
        for service in state.snapshot().services
        for instance in service.instances
    ] == [("y", "i", [1, 3]), ("y", "other", [4]), ("x", "i", [2])]


def test_processes_are_found_by_any_of_their_names_and_by_pid(state):
    state.report(report(host("a", 1), host("b", 2, service="t"), host("c", 3, instance="j")))
    held = state.snapshot()
    assert [process.pid for process in held.find(service="s")] == [1, 3]
    assert [process.pid for process in held.find(instance="j", process="c")] == [3]
    assert [process.pid for process in held.find(pid=2)] == [2]
    assert held.find(process="z") == ()


def test_times_of_a_process_are_kept_apart(state):
    before = Stamp.now()
    state.report(report(host(pid=1)))
    state.beat(beat(ping()))
    state.report(report(host(pid=2)))
    (process,) = state.snapshot().processes
    moments = [before, process.first_seen, process.last_ping, process.pid_since]
    assert [moment.monotonic for moment in moments] == sorted(
        moment.monotonic for moment in moments
    )
    assert process.pid_since == process.last_report == process.last_seen


def test_the_first_acceptance_of_each_pid_outlives_the_memory(state):
    state.report(report(host(pid=1)))
    (process,) = state.snapshot().processes
    first = state.times()[1, process.id]
    state.forget()
    state.report(report(host(pid=1), host("b", 2)))
    assert state.times()[1, process.id] == first == process.first_seen
    assert len(state.times()) == 2


def test_waiting_ends_as_soon_as_the_predicate_holds(state):
    waited = []

    def wait():
        waited.append(state.wait_for(lambda held: held.find(process="b"), timeout=30))

    waiting = threading.Thread(target=wait)
    waiting.start()
    state.report(report(host("a")))
    state.report(report(host("b", 2)))
    waiting.join(10)
    assert waited[0].find(process="b")[0].pid == 2


def test_waiting_in_vain_says_what_is_held_instead(state):
    state.report(report(host(), agent=""))
    with pytest.raises(TimeoutError, match=r"not seen within 0\.01 s; held: 1 processes, 0 of the"):
        state.wait_for(lambda _: False, timeout=0.01)


def test_a_predicate_that_holds_needs_no_time(state):
    assert state.wait_for(lambda _: True, timeout=0) == state.snapshot()


def test_a_slow_predicate_does_not_hold_up_calls(state):
    looked = threading.Event()
    go_on = threading.Event()

    def slow(_):
        looked.set()
        return go_on.wait(10)

    waiting = threading.Thread(target=state.wait_for, args=(slow,))
    waiting.start()
    assert looked.wait(10)
    started = time.monotonic()
    state.report(report(host()))
    assert time.monotonic() - started < 5
    go_on.set()
    waiting.join(10)


def test_listeners_hear_of_changes_in_order_until_they_leave(state):
    heard = []
    leave = state.subscribe(lambda changes: heard.append([change.what for change in changes]))
    state.report(report(host("a"), host("b", 2)))
    state.beat(beat(ping("a")))
    state.beat(beat(ping("a")))
    state.report(report(host("a")))
    state.forget()
    leave()
    leave()
    state.report(report(host("a")))
    assert heard == [
        ["added", "added"],
        ["updated"],
        ["beat"],
        ["updated"],
        ["forgotten", "forgotten"],
    ]


def test_a_listener_may_read_the_state(state):
    seen = []
    state.subscribe(lambda _: seen.append(len(state.snapshot().processes)))
    state.report(report(host()))
    assert seen == [1]


def test_a_listener_that_fails_harms_no_call_and_is_told_no_more(state, caplog):
    def fail(_):
        raise RuntimeError("broken view")

    state.subscribe(fail)
    with caplog.at_level(logging.ERROR, "rover.backend"):
        assert len(state.report(report(host())).processes) == 1
        state.report(report(host()))
    assert [record.message for record in caplog.records] == [
        "listener failed, it is not told again"
    ]


def test_a_state_is_json_ready_as_it_stands(state):
    state.report(report(host("a", 1, {"k": "v"}, labels=["l", "m" * 51]), host(pid=0)))
    state.beat(beat(ping("a"), ping("p" * 501)))
    state.answered(Call("keepAlive", Stamp.now(), AGENT, 2, 99, "OK"))
    told = json.loads(json.dumps(state.snapshot().as_dict()))
    (service,) = told["services"]
    process = service["instances"][0]["processes"][0]
    assert (process["pid"], process["visible"], process["properties"]) == (1, True, {"k": "v"})
    assert [drop["what"] for drop in told["dropped"]] == ["label", "process"]
    assert told["violations_total"] == len(told["violations"]) == 4
    assert told["calls"][0]["size"] == 99


def test_only_the_latest_drops_and_calls_are_kept_and_all_are_counted(state):
    for number in range(1_010):
        state.answered(Call("keepAlive", Stamp.now(), AGENT, number, 0, "OK"))
        state.report(report(host("p" * 501)))
    held = state.snapshot()
    assert (len(held.calls), held.calls_total, held.calls[-1].items) == (1_000, 1_010, 1_009)
    assert (len(held.dropped), held.dropped_total) == (1_000, 1_010)


def test_calls_of_many_threads_lose_nothing(state):
    def call(thread):
        for number in range(50):
            name = f"{thread}-{number}"
            state.report(report(host(name, 1 + thread * 50 + number)))
            state.beat(beat(ping(name)))

    threads = [threading.Thread(target=call, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held = state.snapshot()
    assert len(held.processes) == 400
    assert all(process.visible for process in held.processes)
    assert held.violations == ()
