from __future__ import annotations

import pytest
from backend_wire import host, report

from rover.backend.injection import Faults
from rover.backend.state import State
from rover.errors import ConfigError


class Transport:
    """Records what it was told to do."""

    def __init__(self):
        self.told = {}

    def refuse(self, *, on):
        self.told["refuse"] = on

    def stall(self, *, on):
        self.told["stall"] = on

    def throttle(self, bytes_per_second):
        self.told["throttle"] = bytes_per_second

    def reset(self, following):
        self.told["reset"] = following

    def stop_resets(self):
        self.told["reset"] = None


@pytest.fixture
def transport():
    return Transport()


@pytest.fixture
def faults(transport):
    return Faults(transport, seed=1)


def test_a_token_is_never_shown(faults):
    fault = faults.require_token("hush")
    assert "hush" not in repr(fault) + str(fault.as_dict()) + repr(faults.inject("keepAlive"))


def test_faults_of_the_transport_are_applied_there(transport, faults):
    refuse = faults.refuse()
    faults.black_hole()
    faults.slow(500)
    faults.slow(100)
    assert transport.told == {"refuse": True, "stall": True, "throttle": 100}
    faults.clear(refuse)
    assert transport.told == {"refuse": False, "stall": True, "throttle": 100}
    faults.reset(connections=2)
    assert transport.told["reset"] == 2
    faults.clear()
    assert transport.told == {"refuse": False, "stall": False, "throttle": None, "reset": None}


def test_a_fault_by_count_ends_by_itself(faults):
    faults.error(count=2)
    failed = [faults.inject("keepAlive").error is not None for _ in range(4)]
    assert failed == [True, True, False, False]
    assert faults.active == ()


def test_a_fault_by_rate_is_injected_into_about_so_many(faults):
    faults.error(rate=0.3)
    failed = sum(faults.inject("keepAlive").error is not None for _ in range(2_000))
    assert 500 < failed < 700


def test_a_seed_makes_rates_repeat_themselves():
    def failed():
        faults = Faults(Transport(), seed=7)
        faults.error(rate=0.5)
        return [faults.inject("keepAlive").error is None for _ in range(50)]

    assert failed() == failed()


def test_a_fault_is_injected_into_its_method_alone(faults):
    faults.delay(2, method="keepAlive", count=1)
    assert faults.inject("reportProcesses").delay == 0
    assert faults.inject("keepAlive").delay == 2


def test_delays_add_up_and_the_smallest_limit_holds(faults):
    faults.delay(1)
    faults.delay(0.5)
    faults.limit_message_size(100)
    faults.limit_message_size(10, code="CANCELLED")
    injection = faults.inject("keepAlive")
    assert (injection.delay, injection.limit.size, injection.limit.code) == (1.5, 10, "CANCELLED")


def test_a_fault_given_by_python_is_checked_as_well(faults):
    with pytest.raises(ConfigError):
        faults.error("NO_SUCH_CODE")
    assert faults.active == ()


def answered(faults, count=5):
    state = State()
    request = report(*(host(f"p{number}", number + 1) for number in range(count)))
    injection = faults.inject("reportProcesses")
    answer = faults.alter_answer(injection, state.report(faults.drop_items(injection, request)))
    return state.snapshot(), [(item.hostProcess.pid, item.processId) for item in answer.processes]


def test_ignored_items_are_neither_stored_nor_answered(faults):
    faults.fewer(2)
    held, answer = answered(faults)
    assert sorted(process.pid for process in held.processes) == [pid for pid, _ in answer]
    assert len(answer) == 3


def test_items_may_be_missing_from_the_answer_alone(faults):
    faults.fewer(2, stored=True)
    held, answer = answered(faults)
    assert (len(held.processes), len(answer)) == (5, 3)


def test_more_items_than_there_are_leave_none(faults):
    faults.fewer(100)
    assert answered(faults)[1] == []


def test_a_reordered_answer_holds_the_same_items(faults):
    faults.reorder()
    held, answer = answered(faults)
    assert [pid for pid, _ in answer] != [1, 2, 3, 4, 5]
    assert sorted(answer) == [(process.pid, process.id) for process in held.processes]


def test_two_items_are_always_turned_round(faults):
    faults.reorder()
    assert all([pid for pid, _ in answered(faults, 2)[1]] == [2, 1] for _ in range(20))


def test_dropped_ids_leave_the_rest_of_the_answer(faults):
    faults.drop_ids()
    assert answered(faults)[1] == [(pid, "") for pid in range(1, 6)]


def test_wrong_ids_look_like_ids_and_belong_to_nobody(faults):
    faults.wrong_ids()
    held, answer = answered(faults)
    ids = {process.id for process in held.processes}
    assert all(len(given) == 64 and given not in ids for _, given in answer)
