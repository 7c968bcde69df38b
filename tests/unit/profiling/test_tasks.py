from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.profiling.records import Target
from rover.profiling.tasks import (
    AHEAD,
    LONGEST,
    MOST_TOLD,
    MOST_WAITING,
    Command,
    Reason,
    Refusal,
    Task,
    TaskKey,
    Tasks,
    read,
    updated,
)

NOW = 1_700_000_000.0
NOW_MS = int(NOW * 1000)
ARGS = {
    "SerialNumber": "7f0c",
    "TaskId": "a" * 64,
    "ProcessId": "b" * 64,
    "TaskUpdateTime": str(NOW_MS - 5_000),
    "TriggerType": "FIXED_TIME",
    "TargetType": "ON_CPU",
    "TaskStartTime": str(NOW_MS - 5_000),
    "ExtensionConfigJSON": "null",
    "FixedTriggerDuration": "60",
}
KEY = TaskKey("a" * 64, "b" * 64)


def command(name="EBPFProfilingTaskQuery", **changed):
    args = {key: value for key, value in {**ARGS, **changed}.items() if value is not None}
    return Command(name, args)


def refused(**changed):
    refusal = read(command(**changed), NOW)
    assert isinstance(refusal, Refusal)
    return refusal


def test_a_command_becomes_a_task():
    task = read(command(), NOW)
    assert task == Task(KEY, Target.ON_CPU, NOW - 5, 60)
    assert task.end == NOW + 55


def test_arguments_are_found_by_their_keys_not_by_their_places():
    backwards = Command("EBPFProfilingTaskQuery", dict(reversed(ARGS.items())))
    assert read(backwards, NOW) == read(command(), NOW)


def test_both_targets_are_known():
    assert read(command(TargetType="OFF_CPU"), NOW).target is Target.OFF_CPU


@pytest.mark.parametrize("target", ["NETWORK", "on_cpu", "", "MEMORY", None])
def test_another_target_is_refused(target):
    assert refused(TargetType=target).reason is Reason.TARGET


@pytest.mark.parametrize("trigger", ["CONTINUOUS_PROFILING", "", None])
def test_another_trigger_is_refused(trigger):
    assert refused(TriggerType=trigger).reason is Reason.TRIGGER


@pytest.mark.parametrize("name", ["TaskId", "ProcessId"])
@pytest.mark.parametrize("value", [None, "", "x" * 513])
def test_a_task_without_a_usable_id_is_refused(name, value):
    refusal = refused(**{name: value})
    assert (refusal.reason, name in refusal.detail) == (Reason.ARGUMENT, True)


@pytest.mark.parametrize("name", ["TaskUpdateTime", "TaskStartTime", "FixedTriggerDuration"])
@pytest.mark.parametrize("value", [None, "", "soon", "1e3", "1.5", "٣", "9" * 20, "--1", "0x10"])
def test_a_number_that_is_missing_or_none_is_refused(name, value):
    refusal = refused(**{name: value})
    assert (refusal.reason, name in refusal.detail) == (Reason.ARGUMENT, True)


@pytest.mark.parametrize("duration", [0, -5, LONGEST + 1, 100_000])
def test_a_duration_that_is_none_or_more_than_a_day_is_refused(duration):
    assert refused(FixedTriggerDuration=str(duration)).reason is Reason.DURATION


def test_a_task_whose_time_has_passed_is_refused_and_says_for_how_long():
    refusal = refused(TaskStartTime=str(NOW_MS - 61_000))
    assert (refusal.reason, "1 s ago" in refusal.detail) == (Reason.OVER, True)


def test_another_command_is_refused():
    refusal = read(command("ContinuousProfilingPolicyQuery"), NOW)
    assert refusal.reason is Reason.COMMAND


def test_what_is_refused_does_not_come_back():
    tasks = Tasks()
    assert [each.reason for each in tasks.take([command(TargetType="NETWORK")], NOW)] == [
        Reason.TARGET
    ]
    assert (len(tasks), tasks.latest) == (0, NOW_MS - 5_000)


def test_the_time_of_the_latest_change_never_goes_back():
    tasks = Tasks()
    tasks.take([command(), command(TaskUpdateTime="1", TaskId="c")], NOW)
    assert tasks.latest == NOW_MS - 5_000


def test_a_change_far_in_the_future_does_not_hide_all_others():
    late = NOW_MS + AHEAD * 1000 + 1
    assert updated(command(TaskUpdateTime=str(late)), NOW) == 0
    assert updated(command(TaskUpdateTime=str(late - 1)), NOW) == late - 1


def test_a_start_in_the_future_is_waited_for():
    tasks = Tasks()
    assert tasks.take([command(TaskStartTime=str(NOW_MS + 30_000))], NOW) == []
    assert (list(tasks.running(NOW)), tasks.next_change(NOW)) == ([], NOW + 30)
    assert [task.key for task in tasks.running(NOW + 30)] == [KEY]
    assert tasks.next_change(NOW + 30) == NOW + 90


def test_a_task_runs_up_to_its_end():
    tasks = Tasks()
    tasks.take([command()], NOW)
    assert [task.key for task in tasks.running(NOW + 54.9)] == [KEY]
    assert list(tasks.running(NOW + 55)) == []
    tasks.forget_over(NOW + 55)
    assert (len(tasks), tasks.next_change(NOW + 55)) == (0, None)


def test_a_task_that_is_given_again_is_the_same_with_its_newest_end():
    tasks = Tasks()
    tasks.take([command(), command(FixedTriggerDuration="90")], NOW)
    assert (len(tasks), tasks.get(KEY).duration) == (1, 90)


def test_one_task_for_two_processes_is_two():
    tasks = Tasks()
    tasks.take([command(), command(ProcessId="c")], NOW)
    assert len(tasks) == 2


def test_so_many_tasks_wait_and_no_more():
    tasks = Tasks()
    refused = tasks.take((command(TaskId=str(n)) for n in range(MOST_WAITING + 2)), NOW)
    assert [each.reason for each in refused] == [Reason.TOO_MANY] * 2
    assert tasks.take([command(TaskId="0", FixedTriggerDuration="70")], NOW) == []


def test_a_refusal_is_told_once_and_little_is_remembered():
    tasks = Tasks()
    assert [tasks.is_news(KEY, Reason.PROCESS) for _ in range(3)] == [True, False, False]
    assert tasks.is_news(KEY, Reason.SAMPLING)
    for number in range(MOST_TOLD):
        tasks.is_news(TaskKey(str(number), ""), Reason.PROCESS)
    assert len(tasks._told) == MOST_TOLD


@given(
    st.text(max_size=40),
    st.dictionaries(st.sampled_from([*ARGS, "Other"]), st.text(max_size=30)),
)
def test_whatever_is_sent_becomes_a_task_or_a_refusal(name, args):
    for each in (Command(name, args), Command("EBPFProfilingTaskQuery", {**ARGS, **args})):
        assert isinstance(read(each, NOW), Task | Refusal)
        assert updated(each, NOW) <= NOW_MS + AHEAD * 1000
