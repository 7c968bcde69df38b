"""The profiler against the embedded backend over gRPC; what is sampled, the test says."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import replace

import pytest
from profiling_rig import QUICK, profiling

from rover.backend import EmbeddedBackend
from rover.errors import ProbeError
from rover.model import ProcessKey
from rover.profiling import profiler as profiler_module
from rover.profiling.records import Target

ON = frozenset({Target.ON_CPU})


@pytest.fixture
def backend():
    with EmbeddedBackend() as running:
        yield running
        broken = [str(violation) for violation in running.violations]
    assert not broken


@pytest.fixture
def rig(backend):
    with profiling(backend) as made:
        yield made


def test_what_is_sampled_for_a_task_is_seen_at_the_backend(rig):
    task = rig.task(rig.knows(1, 11))
    rig.hit(11, "hot", "main", count=7)
    rig.hit(11, "cold", "main", kernel=["vfs_read", "entry"], count=2)
    profile = rig.wait_for(task, lambda profile: profile.count == 9)
    assert profile.of("hot") == (7, 0)
    (main,) = profile.roots
    assert [node.frame.symbol for node in main.children] == ["hot", "cold"]
    (entry,) = main.children[1].children
    assert (entry.frame.kernel, entry.children[0].frame.symbol) == (True, "vfs_read")


def test_time_off_the_cpu_is_sent_in_nanoseconds(rig):
    task = rig.task(rig.knows(1, 11), "OFF_CPU")
    rig.hit(11, "read", target=Target.OFF_CPU, count=3, ns=7_000_000_001)
    profile = rig.wait_for(task, lambda profile: profile.count)
    assert (profile.count, profile.ns) == (3, 7_000_000_001)


def test_nothing_is_followed_without_a_task_nor_after_its_end(rig, eventually):
    process_id = rig.knows(1, 11)
    assert rig.sampler.followed_ever == []
    task = rig.task(process_id, seconds=1)
    rig.hit(11, "hot", count=5)
    eventually(lambda: rig.sampler.followed_ever and not rig.sampler.followed)
    rig.wait_for(task, lambda profile: profile.count == 5)


def test_a_task_whose_start_lies_ahead_waits_for_it(rig):
    start = time.time() + 1
    task = rig.task(rig.knows(1, 11), start=start)
    rig.hit(11, "hot")
    assert time.time() >= start
    assert rig.wait_for(task, lambda profile: profile.count).schedules[0].start >= start * 1000 - 1


def test_every_process_of_the_entity_is_sampled_and_merged(rig, eventually):
    task = rig.task(rig.knows(1, 11, 12, 13))
    eventually(lambda: set(rig.sampler.followed) == {11, 12, 13})
    for pid in (11, 12, 13):
        rig.hit(pid, "hot", count=pid)
    assert rig.wait_for(task, lambda profile: profile.count == 36).of("hot") == (36, 0)


def test_the_entitys_next_leader_is_profiled_from_then_on(rig):
    task = rig.task(rig.knows(1, 11))
    rig.hit(11, "old", count=4)
    rig.members["worker-1"] = (ProcessKey(12, 2),)
    rig.hit(12, "new", count=5)
    profile = rig.wait_for(task, lambda profile: profile.count == 9)
    assert (profile.of("old"), profile.of("new")) == ((4, 0), (5, 0))


def test_a_process_that_comes_late_is_profiled_when_it_is_there(rig, eventually):
    process_id = rig.knows(1, 11)
    rig.members["worker-1"] = ()
    task = rig.task(process_id)
    eventually(lambda: rig.profiler._runs)
    rig.members["worker-1"] = (ProcessKey(11, 1),)
    rig.hit(11, "hot", count=3)
    rig.wait_for(task, lambda profile: profile.count == 3)


def test_the_pid_of_another_process_is_followed_anew(rig):
    task = rig.task(rig.knows(1, 11))
    rig.hit(11, "old", count=4)
    rig.wait_for(task, lambda profile: profile.count == 4)
    rig.members["worker-1"] = (ProcessKey(11, 99),)
    deadline = time.monotonic() + 20
    while {} not in rig.sampler.followed_ever and time.monotonic() < deadline:
        time.sleep(0.01)
    assert rig.sampler.followed_ever[-2:] == [{}, {11: ON}]
    rig.hit(11, "new", count=5)
    rig.wait_for(task, lambda profile: profile.of("new") == (5, 0) and profile.count == 9)


def test_two_tasks_for_one_process_share_its_samples_and_each_gets_its_own(rig, eventually):
    process_id = rig.knows(1, 11)
    first = rig.task(process_id)
    rig.hit(11, "hot", count=4)
    rig.wait_for(first, lambda profile: profile.count == 4)
    second = rig.task(process_id)
    eventually(
        lambda: (
            len(rig.profiler._runs) == 2 and all(run.counted for run in rig.profiler._runs.values())
        )
    )
    rig.hit(11, "hot", count=3)
    rig.wait_for(first, lambda profile: profile.count == 7)
    rig.wait_for(second, lambda profile: profile.count == 3)
    assert rig.sampler.followed_ever == [{11: ON}]


def test_both_targets_of_one_process_are_sampled_at_once(rig, eventually):
    process_id = rig.knows(1, 11)
    on, off = rig.task(process_id), rig.task(process_id, "OFF_CPU")
    eventually(lambda: rig.sampler.followed == {11: frozenset(Target)})
    rig.hit(11, "hot", count=4)
    rig.hit(11, "read", target=Target.OFF_CPU, count=2, ns=9)
    assert rig.wait_for(on, lambda profile: profile.count).count == 4
    assert rig.wait_for(off, lambda profile: profile.count).ns == 9


def test_sixteen_processes_are_profiled_at_once_and_the_next_when_one_ends(rig, eventually):
    ids = [rig.knows(number, 100 + number) for number in range(17)]
    for process_id in ids[:16]:
        rig.task(process_id, seconds=3 if process_id == ids[0] else 60)
    eventually(lambda: len(rig.sampler.followed) == 16)
    last = rig.task(ids[16])
    eventually(lambda: len(rig.profiler._tasks) == 17)
    assert not rig.sampler.hit(116, "hot")
    rig.hit(116, "hot", count=2)
    rig.wait_for(last, lambda profile: profile.count == 2)


def test_a_task_that_is_made_longer_goes_on(rig, backend):
    task = rig.task(rig.knows(1, 11), seconds=2)
    rig.hit(11, "hot", count=1)
    backend.profiling.extend(task.id, 60)
    end = task.end / 1000
    while time.time() < end + 0.2:
        time.sleep(0.05)
    rig.hit(11, "hot", count=2)
    assert len(rig.wait_for(task, lambda profile: profile.count == 3).schedules) == 1


def test_a_process_that_cannot_be_sampled_is_tried_again(rig, monkeypatch, caplog):
    monkeypatch.setattr("rover.profiling.following.RETRY_FIRST", 0.2)
    rig.sampler.refused = {11: "no room"}
    task = rig.task(rig.knows(1, 11, 12))
    rig.hit(12, "hot", count=1)
    rig.sampler.refused = {}
    rig.hit(11, "hot", count=2)
    rig.wait_for(task, lambda profile: profile.count == 3)
    (told,) = [each.getMessage() for each in caplog.records if "no room" in each.getMessage()]
    assert told.endswith("reason='sampling': pid=11: no room")


def test_programs_that_do_not_load_cost_the_task_alone(rig, eventually, monkeypatch, caplog):
    monkeypatch.setattr("rover.profiling.following.RETRY_FIRST", 0.2)
    rig.sampler.breaks = ProbeError("the verifier says no")
    task = rig.task(rig.knows(1, 11))
    eventually(lambda: "the verifier says no" in caplog.text)
    rig.sampler.breaks = None
    rig.hit(11, "hot", count=2)
    rig.wait_for(task, lambda profile: profile.count == 2)


def test_where_discovery_gives_no_answer_the_last_one_holds(rig):
    task = rig.task(rig.knows(1, 11))
    rig.hit(11, "hot", count=1)
    rig.silent = True
    rig.wait_for(task, lambda profile: profile.count == 1)
    rig.hit(11, "hot", count=2)
    rig.wait_for(task, lambda profile: profile.count == 3)


def test_what_the_backend_took_although_it_failed_counts_once(rig, backend):
    backend.faults.error("ABORTED", stored=True, method="collectProfilingData", count=2)
    task = rig.task(rig.knows(1, 11))
    for _ in range(30):
        rig.hit(11, "hot", count=3)
        time.sleep(0.02)
    profile = rig.wait_for(task, lambda profile: profile.count >= 90)
    assert profile.count == 90


def test_sums_are_exact_through_failures_and_restarts(rig, backend):
    task = rig.task(rig.knows(1, 11))
    chance = random.Random(7)
    truth = dict.fromkeys("abcdefgh", 0)
    backend.faults.error(rate=0.3, method="collectProfilingData")
    backend.faults.error("ABORTED", stored=True, rate=0.3, method="collectProfilingData")
    restarts = threading.Thread(target=lambda: [backend.restart(downtime=0.3) for _ in range(3)])
    for step in range(150):
        name = chance.choice("abcdefgh")
        truth[name] += step
        rig.hit(11, name, "main", count=step)
        if step == 50:
            restarts.start()
        time.sleep(0.01)
    restarts.join()
    backend.faults.clear()
    profile = rig.wait_for(task, lambda profile: profile.count >= sum(truth.values()), 20)
    assert {name: profile.of(name)[0] for name in truth} == truth
    assert len(profile.schedules) == 1


def test_what_the_backend_refuses_of_one_task_does_not_keep_the_others(rig, monkeypatch):
    good, bad = rig.knows(1, 11), rig.knows(2, 12)
    poison = rig.task(bad)
    task = rig.task(good)
    stream = profiler_module.messages.stream

    def poisoned(share):
        if share.task.key.process_id == bad:
            return iter([b"\x0a\x05\x01"])
        return stream(share)

    monkeypatch.setattr(profiler_module.messages, "stream", poisoned)
    rig.hit(12, "bad", count=1)
    rig.hit(11, "hot", count=2)
    rig.wait_for(task, lambda profile: profile.count == 2)
    assert rig.profile(poison).count == 0
    monkeypatch.undo()
    rig.wait_for(poison, lambda profile: profile.count == 1)
    rig.backend.state._violations.clear()


def test_an_agent_that_is_stopped_in_mid_task_sends_the_rest_and_detaches(backend):
    with profiling(backend, replace(QUICK, flush_interval=60)) as rig:
        task = rig.task(rig.knows(1, 11))
        rig.hit(11, "hot", count=5)
        began = time.monotonic()
        assert rig.profiler.stop(4)
        assert time.monotonic() - began < 4
    assert (rig.profile(task).count, rig.sampler.closed) == (5, True)


def test_a_question_that_is_not_answered_holds_up_no_flush(backend):
    with profiling(backend, timeout=60) as rig:
        task = rig.task(rig.knows(1, 41))
        rig.hit(41, "before")
        rig.wait_for(task, lambda profile: profile.count == 1)
        backend.faults.delay(60, method="queryTasks")
        try:
            for count in range(2, 5):  # each flush has met a question under way or to come
                rig.hit(41, "after")
                rig.wait_for(task, lambda profile, count=count: profile.count == count)
        finally:
            backend.faults.clear()


def test_a_backend_that_hangs_does_not_keep_the_agent_from_its_end(backend):
    with profiling(backend) as rig:
        rig.task(rig.knows(1, 11))
        rig.hit(11, "hot", count=5)
        backend.faults.delay(30, method="collectProfilingData")
        backend.faults.delay(30, method="queryTasks")
        time.sleep(0.3)
        began = time.monotonic()
        assert rig.profiler.stop(1.5)
        assert time.monotonic() - began < 4
        backend.faults.clear()
    assert rig.sampler.closed


def test_an_agent_that_starts_anew_goes_on_with_the_task_as_another_schedule(backend):
    with profiling(backend) as rig:
        task = rig.task(rig.knows(1, 11))
        rig.hit(11, "hot", count=5)
    with profiling(backend) as rig:
        rig.knows(1, 11)
        rig.hit(11, "hot", count=6)
        profile = rig.wait_for(task, lambda profile: profile.count == 11)
    assert len(profile.schedules) == 2


def test_what_a_backend_does_not_take_in_a_minute_after_the_end_is_given_up_and_said(
    backend, monkeypatch, caplog, eventually
):
    monkeypatch.setattr(profiler_module, "PATIENCE", 0.5)
    with profiling(backend) as rig:
        rig.task(rig.knows(1, 11), seconds=2)
        backend.faults.error(method="collectProfilingData")
        rig.hit(11, "hot", count=5)
        eventually(lambda: "samples=0 lost=5" in caplog.text)
        assert rig.profiler._runs == {}


def test_tasks_of_before_are_named_by_their_number_alone(backend, caplog):
    caplog.set_level("INFO")
    with profiling(backend) as rig:
        rig.knows(1, 11)
        process_id = rig.task(rig.knows(2, 12), seconds=60).process_id
    for number in range(5):
        rig.task(process_id, seconds=60, start=time.time() - 1000 - number)
    caplog.clear()
    with profiling(backend) as rig:
        rig.knows(2, 12)
        rig.hit(12, "hot", count=1)
    told = [each.getMessage() for each in caplog.records if "are over" in each.getMessage()]
    assert told == ["profiling tasks of before are over: count=5"]
    assert "refused" not in caplog.text


def test_a_task_that_is_over_when_it_comes_is_named_with_what_the_clocks_say(rig, caplog):
    process_id = rig.knows(1, 11)
    first = rig.task(process_id)
    rig.hit(11, "hot", count=1)
    rig.wait_for(first, lambda profile: profile.count == 1)
    late = rig.task(process_id, seconds=60, start=time.time() - 100)
    deadline = time.monotonic() + 20
    while late.id not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.02)
    assert f"task={late.id}" in caplog.text
    assert "it ended 40 s ago by this host's clock" in caplog.text


def test_a_backend_without_the_service_is_told_once_and_asked_in_the_usual_pause(
    backend, caplog, eventually
):
    caplog.set_level("INFO")
    backend.faults.error("UNIMPLEMENTED", method="queryTasks")
    with profiling(backend) as rig:
        rig.knows(1, 11)
        eventually(lambda: rig.profiler._unanswered > 4)
    told = [each.getMessage() for each in caplog.records if "cannot be asked" in each.getMessage()]
    assert len(told) == 1
    assert "unimplemented" in told[0]
