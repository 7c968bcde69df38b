"""The session loses nothing, says what goes on, and breaks no rule, whatever the backend does."""

from __future__ import annotations

import itertools
import logging
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports import AGENT, Rig, report

from rover.reporter.failures import CallError, FailureKind
from rover.reporter.pacing import FIRST_BEATS_RATE, NEWS_BURST, NEWS_RATE
from rover.reporter.roster import TRIES_UNANSWERED, Entry
from rover.reporter.session import RETURN_FIRST
from rover.reporter.state import Standing, standing

CREW = [report(number) for number in range(5)]
PIDS = {one.process.pid for one in CREW}


def failing(kind, detail="fault", *, name=None, times=None, least_items=0):
    """A fault that fails calls so many times; the empty call is spared where items are asked."""
    left = itertools.count() if times is None else iter(range(times))

    def fault(called, request, _size):
        long_enough = len(request.processes) >= least_items
        if name in {None, called} and long_enough and next(left, None) is not None:
            raise CallError(kind, detail)

    return fault


def fine(*_):
    return None


# The way it should go


def test_at_start_everything_is_reported_and_beats_at_once():
    rig = Rig()
    rig.start(*CREW)
    rig.run()
    assert rig.visible() == PIDS
    assert rig.phase == "beating"
    assert [name for name, items in rig.backend.calls if items] == ["reportProcesses", "keepAlive"]


def test_every_message_carries_the_agent_id():
    rig = Rig()
    rig.start(*CREW)
    rig.run()
    assert {row.agent_id for row in rig.state.snapshot().processes} == {AGENT}


def test_a_new_process_on_an_idle_host_is_reported_at_once():
    rig = Rig()
    rig.run(10)
    rig.start(CREW[0])
    rig.run()
    assert rig.visible() == {CREW[0].process.pid}


def test_news_in_quick_succession_are_gathered():
    rig = Rig()
    rig.run(5)
    before = len(rig.backend.calls)
    for number in range(1000):
        rig.start(report(number))
        rig.run(0.01)
    rig.run(1 / NEWS_RATE)
    reports = [items for name, items in rig.backend.calls[before:] if name == "reportProcesses"]
    assert sum(reports) == 1000
    assert len(reports) <= 1000 * 0.01 * NEWS_RATE + NEWS_BURST + 1


def test_news_that_come_while_others_are_gathered_wait_no_longer_than_that():
    rig = Rig(heartbeat=1000, check=1000)
    rig.run(5)
    for number in range(2 * NEWS_BURST):
        rig.start(report(number))
        rig.run(0.01)
    rig.run(1 / NEWS_RATE)
    assert len(rig.reported()) == 2 * NEWS_BURST
    rig.run(1 / FIRST_BEATS_RATE)
    assert len(rig.visible()) == 2 * NEWS_BURST


def test_news_now_and_then_wait_for_nothing():
    rig = Rig(heartbeat=1000)
    rig.run(5)
    for number, pause in enumerate([0.02, 0.3, 0.05, 0.2, 0.01, 0.3] * 20):
        rig.start(report(number))
        rig.run()
        assert number + 1000 in rig.reported()
        rig.run(pause)


def test_a_new_process_now_and_then_beats_at_once():
    rig = Rig(heartbeat=1000)
    rig.run(5)
    for number in range(40):
        rig.start(report(number))
        rig.run()
        assert number + 1000 in rig.visible()
        rig.run(1 / FIRST_BEATS_RATE)


def test_while_much_starts_first_beats_share_calls():
    rig = Rig(heartbeat=1000)
    rig.run(5)
    rig.backend.calls.clear()
    for number in range(100):
        rig.start(report(number))
        rig.run(0.05)
    rig.run(1 / FIRST_BEATS_RATE)
    assert len(rig.visible()) == 100
    beats = sum(name == "keepAlive" for name, _ in rig.backend.calls)
    assert beats <= NEWS_BURST + 5 * FIRST_BEATS_RATE + 1


@pytest.mark.parametrize("again", [False, True])
def test_what_ended_between_its_report_and_its_first_beat_beats_once(again):
    rig = Rig(heartbeat=1000)
    rig.run(5)
    for number in itertools.count():
        rig.start(last := report(number))
        rig.run(1 / NEWS_RATE)
        if last.process.pid in rig.reported() - rig.visible():
            break
    rig.end(last)
    rig.run(0.01)
    if again:
        rig.start(last)
    rig.run(2)
    assert last.process.pid in rig.visible()
    assert last.process.pid not in rig.beaten(since=1)
    rig.run(1000)
    assert (last.process.pid in rig.beaten(since=1)) == again
    assert not rig.roster.fresh
    assert not rig.broken_rules


def test_every_process_beats_in_each_period():
    rig = Rig(heartbeat=20)
    rig.start(*CREW)
    rig.run(200)
    rows = rig.state.snapshot().processes
    assert all(10 <= row.pings <= 12 for row in rows)


def test_all_properties_go_out_again_every_so_many_beats():
    rig = Rig(heartbeat=20, properties_every=10)
    rig.start(*CREW)
    rig.run(20 * 10 * 3)
    assert {row.reports for row in rig.state.snapshot().processes} == {1 + 3}


def test_a_process_that_ended_beats_no_more():
    rig = Rig()
    rig.start(*CREW)
    rig.run(30)
    before = {row.pid: row.pings for row in rig.state.snapshot().processes}
    rig.end(CREW[0])
    rig.run(60)
    after = {row.pid: row.pings for row in rig.state.snapshot().processes}
    assert after[CREW[0].process.pid] == before[CREW[0].process.pid]
    assert after[CREW[1].process.pid] > before[CREW[1].process.pid]


def test_a_follower_that_takes_over_is_reported_with_its_pid():
    rig = Rig()
    rig.start(CREW[0])
    rig.run(10)
    rig.start(report(0, pid=77))
    rig.run()
    (row,) = rig.state.snapshot().processes
    assert (row.pid, row.reports) == (77, 2)


def test_ids_are_kept_and_told():
    rig = Rig()
    rig.start(*CREW)
    rig.run()
    ids = {row.entity.process: row.id for row in rig.state.snapshot().processes}
    for entry in rig.outbox.entries():
        told = standing(entry)
        assert told.standing is Standing.REPORTED
        assert told.process_id == ids[entry.key.process]


def test_an_unchanged_entity_is_serialised_for_beats_once():
    rig = Rig()
    rig.start(*CREW)
    rig.run(5)
    frames = [entry.beat for entry in rig.outbox.entries()]
    rig.run(100)
    assert all(
        entry.beat is frame for entry, frame in zip(rig.outbox.entries(), frames, strict=True)
    )


def test_many_processes_go_in_several_messages():
    rig = Rig()
    rig.start(*(report(number) for number in range(2500)))
    rig.run()
    assert len(rig.visible()) == 2500
    assert max(items for _, items in rig.backend.calls) <= 1000


def test_an_idle_session_rests_until_there_is_something_to_do():
    rig = Rig(heartbeat=20, check=5)
    rig.start(*CREW)
    rig.run(1)
    assert rig.session.step().seconds > 2


# The backend goes away and comes back


@pytest.mark.parametrize("keep_memory", [True, False])
def test_after_a_restart_everything_is_reported_again_within_a_beat(keep_memory):
    rig = Rig(heartbeat=20)
    rig.start(*CREW)
    rig.run(30)
    rig.backend.restart(keep_memory=keep_memory)
    rig.run(20)
    assert rig.visible() == PIDS
    assert all(row.reports == (2 if keep_memory else 1) for row in rig.state.snapshot().processes)
    assert not rig.broken_rules


def test_after_an_outage_the_backend_holds_what_lives_then():
    rig = Rig(heartbeat=20)
    rig.start(*CREW)
    rig.run(30)
    rig.backend.up = False
    rig.backend.restart(keep_memory=False)
    rig.run(300)
    assert rig.phase == "backing-off"
    rig.end(CREW[0])
    rig.start(report(9))
    rig.run(50)
    rig.backend.up = True
    rig.run(20)
    assert rig.visible() == PIDS - {CREW[0].process.pid} | {1009}
    assert rig.phase == "beating"


def test_attempts_while_it_is_away_grow_apart_to_the_check_period():
    rig = Rig(heartbeat=20, check=5, chance=lambda: 0.999)
    rig.backend.up = False
    rig.run(300)
    attempts = len(rig.channels)
    assert 300 / 5 <= attempts <= 300 / 5 + 6


def test_a_fleet_does_not_return_in_one_moment():
    random = Random(7)
    moments = []
    for _ in range(50):
        rig = Rig(heartbeat=20, chance=random.random)
        rig.start(CREW[0])
        rig.run(60 * random.random())
        rig.backend.up = False
        rig.backend.restart(keep_memory=False)
        rig.run(600)
        rig.backend.up = True
        back = rig.now
        while not rig.visible():
            rig.run(0.05)
        moments.append(rig.now - back)
    assert max(moments) <= 20
    assert max(moments) - min(moments) > 2
    assert max(sum(1 for m in moments if second <= m < second + 1) for second in range(20)) < 25


def test_the_first_start_waits_for_nobody():
    rig = Rig(chance=lambda: 0.999)
    rig.start(*CREW)
    rig.run(0.01)
    assert rig.visible() == PIDS


def test_an_outage_at_the_first_start_ends_with_a_short_pause_only():
    rig = Rig(chance=lambda: 0.999)
    rig.start(*CREW)
    rig.backend.up = False
    rig.run(0.2)
    rig.backend.up = True
    rig.run(1)
    assert rig.visible() == PIDS


def test_memory_stays_bounded_by_the_living_during_an_outage():
    rig = Rig()
    rig.backend.up = False
    for number in range(5000):
        rig.start(report(number))
        if number >= 10:
            rig.end(report(number - 10))
        if number % 100 == 0:
            rig.run(1)
    assert len(rig.outbox) + len(rig.roster) <= 2 * 130
    rig.backend.up = True
    rig.run(20)
    assert rig.visible() == set(rig.alive)


def test_batches_that_were_answered_are_not_sent_again_on_the_same_connection():
    rig = Rig()
    rig.start(*(report(number) for number in range(5000)))
    calls = itertools.count()

    def every_third(*_):
        if next(calls) % 3 == 2:
            raise CallError(FailureKind.AWAY, "now and then")

    rig.backend.fault = every_third
    rig.run(60)
    assert len(rig.visible()) == 5000


@pytest.mark.parametrize(
    "kind",
    [
        FailureKind.BUSY,
        FailureKind.DENIED,
        FailureKind.WRONG_SERVER,
        FailureKind.TIMEOUT,
        FailureKind.AWAY,
    ],
)
def test_any_trouble_is_over_within_a_beat_of_its_end(kind):
    rig = Rig(heartbeat=20, chance=lambda: 0.999)
    rig.start(*CREW)
    rig.backend.fault = failing(kind)
    rig.run(500)
    assert rig.phase == "backing-off"
    assert kind.value in rig.session.state.reason
    rig.backend.fault = fine
    rig.run(20)
    assert rig.visible() == PIDS
    assert rig.phase == "beating"


@pytest.mark.parametrize(
    ("kind", "most"), [(FailureKind.AWAY, 250), (FailureKind.BUSY, 50), (FailureKind.DENIED, 50)]
)
def test_a_backend_that_asks_for_less_or_denies_is_asked_less_often(kind, most):
    rig = Rig(heartbeat=20, chance=Random(1).random)
    rig.start(*CREW)
    rig.backend.fault = failing(kind)
    rig.run(500)
    assert len(rig.backend.calls) <= most


def test_pressure_while_beating_costs_no_full_report():
    rig = Rig(heartbeat=20)
    rig.start(*CREW)
    rig.run(5)
    rig.backend.fault = failing(FailureKind.BUSY, name="keepAlive", times=3)
    rig.run(60)
    assert rig.phase == "beating"
    assert {row.reports for row in rig.state.snapshot().processes} == {1}


def test_new_credentials_while_all_is_well_are_no_lost_connection(caplog):
    rig = Rig(heartbeat=20)
    rig.start(*CREW)
    rig.run(5)
    rig.credentials_changed = True
    with caplog.at_level(logging.INFO, "rover.reporter"):
        rig.run(10)
    assert "credentials changed" in caplog.text
    assert "lost" not in caplog.text
    assert rig.phase == "beating"


def test_new_credentials_are_tried_at_once():
    rig = Rig(heartbeat=20)
    rig.start(*CREW)
    rig.backend.fault = failing(FailureKind.DENIED)
    rig.run(100)
    rig.backend.fault = fine
    rig.credentials_changed = True
    rig.run(1.1)
    assert rig.phase == "announcing" or rig.visible() == PIDS
    rig.run(5)
    assert rig.visible() == PIDS


def test_a_state_is_logged_once_however_long_it_lasts(caplog):
    rig = Rig(heartbeat=20)
    rig.start(*CREW)
    with caplog.at_level(logging.INFO, "rover.reporter"):
        rig.run(100)
        started = len(caplog.records)
        rig.backend.fault = failing(FailureKind.DENIED, "PERMISSION_DENIED")
        rig.run(3600)
        denied = caplog.records[started:]
        rig.backend.fault = fine
        rig.run(30)
    assert started <= 3
    assert [record.levelname for record in denied] == ["WARNING"]
    assert "core.backend.authentication" in denied[0].getMessage()
    assert "state=beating" in caplog.records[-1].getMessage()


# Items that the backend cannot stand, or does not hear


def test_a_bad_item_is_set_aside_alone_and_the_others_go_through_in_the_same_beat():
    rig = Rig()
    rig.start(*CREW, report(9, layer="NO_SUCH_LAYER"))
    rig.run()
    assert rig.visible() == PIDS
    assert rig.phase == "beating"
    refused = [standing(entry) for entry in rig.outbox.entries() if entry.refusal]
    assert len(refused) == 1
    assert refused[0].standing is Standing.REFUSED
    assert "Application error" in refused[0].detail
    assert rig.session.state.refused == 1


def test_a_bad_item_is_named_once_in_the_log(caplog):
    rig = Rig(heartbeat=20)
    rig.start(*CREW, report(9, layer="NO_SUCH_LAYER"))
    with caplog.at_level(logging.INFO, "rover.reporter"):
        rig.run(3600)
    named = [record for record in caplog.records if "worker-9" in record.getMessage()]
    assert len(named) == 1
    assert "pid=1009" in named[0].getMessage()


def test_a_thousand_items_of_a_layer_that_the_backend_does_not_know_cost_few_calls():
    rig = Rig(heartbeat=20)
    rig.start(*CREW, *(report(number, layer="NO_SUCH_LAYER") for number in range(1000, 2000)))
    rig.run()
    assert rig.visible() == PIDS
    assert len(rig.backend.calls) < 40
    before = len(rig.backend.calls)
    rig.run(20)
    assert len(rig.backend.calls) - before < 40


def test_a_set_aside_item_is_tried_at_growing_distances_and_with_each_full_report():
    rig = Rig(heartbeat=20, properties_every=10)
    rig.start(*CREW, report(9, layer="NO_SUCH_LAYER"))
    rig.run(5)
    trials = []

    def watch(name, request, _size):
        if name == "reportProcesses" and len(request.processes) == 1:
            trials.append(round((rig.now - 1000) / 19))

    rig.backend.fault = watch
    rig.run(20 * 30)
    assert trials[:3] == [1, 3, 7]
    assert len(trials) >= 5


def test_a_set_aside_item_that_the_backend_accepts_later_is_back():
    rig = Rig(heartbeat=20)
    rig.backend.fault = failing(FailureKind.ITEM, name="keepAlive", least_items=1)
    rig.start(CREW[0])
    rig.run(1)
    assert rig.session.state.refused == 1
    rig.backend.fault = fine
    rig.run(21)
    assert rig.visible() == {CREW[0].process.pid}
    assert rig.session.state.refused == 0


def test_bad_items_among_the_living_never_stop_the_beats_of_the_others():
    rig = Rig(heartbeat=20)
    crew = [report(number) for number in range(300)]
    bad = {f"worker-{number}" for number in range(0, 300, 7)}
    rig.start(*crew)

    def poison(name, request, _size):
        sent = {item.entityMetadata.processName for item in request.processes if name[0] == "k"}
        if sent & bad:
            raise CallError(FailureKind.ITEM, "no")

    rig.backend.fault = poison
    rig.run(120)
    assert len(rig.visible()) == 300 - len(bad)
    assert rig.phase == "beating"
    assert rig.beaten(since=4) == rig.visible()


def test_a_backend_that_fails_on_everything_gets_no_flood_and_sets_nobody_aside():
    rig = Rig(heartbeat=20)
    rig.start(*(report(number) for number in range(1000)))
    rig.backend.fault = failing(FailureKind.ITEM)
    rig.run(60)
    assert rig.phase == "backing-off"
    assert "failing" in rig.session.state.reason
    assert len(rig.backend.calls) < 40
    assert not rig.roster.refused
    rig.backend.fault = fine
    rig.run(20)
    assert len(rig.visible()) == 1000


def test_a_backend_that_refuses_every_item_but_answers_is_not_asked_about_each():
    rig = Rig(heartbeat=20)
    rig.start(*(report(number) for number in range(1000)))
    rig.backend.fault = failing(FailureKind.ITEM, least_items=1)
    rig.run(1)
    assert rig.phase == "backing-off"
    assert len(rig.backend.calls) < 64 * 8
    rig.backend.fault = fine
    rig.run(20)
    assert len(rig.visible()) == 1000


def test_what_the_backend_did_not_answer_is_sent_again_before_it_beats():
    rig = Rig()
    rig.start(*CREW)
    deaf = iter(range(3))

    def spoil(request):
        if next(deaf, None) is not None:
            del request.processes[0]

    rig.backend.spoil = spoil
    rig.run()
    assert len(rig.visible()) == 4
    rig.run(10)
    assert rig.visible() == PIDS
    assert not rig.broken_rules


def test_what_the_backend_never_answers_is_set_aside_and_asked_again_later():
    rig = Rig(heartbeat=20)
    rig.backend.spoil = lambda request: request.ClearField("processes")
    rig.start(CREW[0])
    rig.run(600)
    asked = [items for name, items in rig.backend.calls if name == "reportProcesses"]
    assert TRIES_UNANSWERED <= len(asked) <= 60
    (entry,) = rig.outbox.entries()
    assert "no answer" in standing(entry).detail
    assert not rig.broken_rules
    rig.backend.spoil = lambda _: None
    rig.run(20 * 10)
    assert rig.visible() == {CREW[0].process.pid}


def test_a_message_limit_is_learnt_and_kept_to():
    rig = Rig(heartbeat=20)
    rig.start(*(report(number) for number in range(500)))
    sizes = []

    def limit(_name, _request, size):
        sizes.append(size)
        if size > 10_000:
            raise CallError(FailureKind.TOO_LARGE, "larger than max")

    rig.backend.fault = limit
    rig.run(25)
    assert len(rig.visible()) == 500
    learnt = [size for size in sizes[40:] if size > 10_000]
    assert not learnt


def test_an_item_that_alone_is_too_large_is_cut_until_it_fits():
    rig = Rig(heartbeat=20)
    rig.start(report(1, command_line="x" * 40_000), report(2))

    def limit(_name, _request, size):
        if size > 5_000:
            raise CallError(FailureKind.TOO_LARGE, "larger than max")

    rig.backend.fault = limit
    rig.run(5)
    assert rig.visible() == {1001, 1002}
    (row,) = rig.state.snapshot().find(process="worker-1")
    assert 1000 < len(row.properties["command_line"]) < 5000


def test_a_slow_backend_gets_smaller_batches_until_it_answers_in_time():
    rig = Rig(heartbeat=20)
    rig.start(*(report(number) for number in range(1000)))

    def slow(_name, request, _size):
        if len(request.processes) > 100:
            raise CallError(FailureKind.TIMEOUT, "DEADLINE_EXCEEDED")

    rig.backend.fault = slow
    rig.run(60)
    assert len(rig.visible()) == 1000


def test_what_fits_into_no_message_is_set_aside_alone():
    rig = Rig()
    rig.start(*CREW, report(9, pid=2**40))
    rig.run()
    assert rig.visible() == PIDS
    (refused,) = (standing(entry) for entry in rig.outbox.entries() if entry.refusal)
    assert "fits into no message" in refused.detail


# Connections that end without a fault


def test_a_beat_that_pressure_held_up_is_made_up_for_at_once():
    rig = Rig(heartbeat=20, chance=lambda: 0.5)
    rig.start(*CREW)
    rig.run(14)
    rig.backend.fault = failing(FailureKind.BUSY, name="keepAlive")
    rig.run(15)
    rig.backend.fault = fine
    pings = {row.pings for row in rig.state.snapshot().processes}
    rig.run(20)
    assert {row.pings for row in rig.state.snapshot().processes} == {pings.pop() + 1}


def test_a_connection_that_swallows_calls_is_given_up_soon():
    rig = Rig(heartbeat=20)
    rig.start(*CREW)
    rig.run(5)
    swallowed = rig.channels[-1]

    def hole(*_):
        if rig.channels[-1] is swallowed:
            rig.now += 10
            raise CallError(FailureKind.TIMEOUT, "DEADLINE_EXCEEDED")

    rig.backend.fault = hole
    rig.run(60)
    assert rig.channels[-1] is not swallowed
    assert rig.phase == "beating"


def rested(rig, beats):
    """Let a proxy close the connection in the middle between beats."""
    for _ in range(beats * 4):
        rig.run(rig.session._pacing.heartbeat / 4)
        rig.backend.restart(keep_memory=True)


def test_behind_a_proxy_that_closes_resting_connections_full_reports_stay_rare(caplog):
    rig = Rig(heartbeat=20, properties_every=10)
    rig.start(*CREW)
    rested(rig, 20)
    before = {row.pid: row.reports for row in rig.state.snapshot().processes}
    with caplog.at_level(logging.INFO, "rover.reporter"):
        caplog.clear()
        rested(rig, 50)
    after = {row.pid: row.reports for row in rig.state.snapshot().processes}
    assert all(4 <= after[pid] - before[pid] <= 7 for pid in before)
    assert all(row.pings >= 60 for row in rig.state.snapshot().processes)
    assert not caplog.records
    assert len(rig.channels) < 4 * 20 + 3 * 50


def test_behind_such_a_proxy_a_real_restart_is_healed_by_the_next_full_report():
    rig = Rig(heartbeat=20, properties_every=10)
    rig.start(*CREW)
    rested(rig, 20)
    rig.backend.restart(keep_memory=False)
    rested(rig, 11)
    assert rig.visible() == PIDS


def test_behind_such_a_proxy_news_are_still_reported_at_once():
    rig = Rig(heartbeat=20)
    rig.start(*CREW)
    rested(rig, 20)
    rig.start(report(9))
    rig.run(0.2)
    assert 1009 in rig.visible()


# Several addresses


def test_the_next_address_is_tried_at_once_when_one_is_away():
    rig = Rig(backends=3)
    rig.backends[0].up = rig.backends[1].up = False
    rig.start(*CREW)
    rig.run(0.01)
    assert rig.visible() == PIDS
    assert rig.session.state.backend == "oap-2:11800"


def test_the_first_address_is_returned_to_when_it_is_back():
    rig = Rig(backends=2)
    rig.start(*CREW)
    rig.run(10)
    rig.backends[0].up = False
    rig.run(30)
    assert rig.session.state.backend == "oap-1:11800"
    rig.backends[0].up = True
    rig.run(RETURN_FIRST + 20)
    assert rig.session.state.backend == "oap-0:11800"
    assert rig.phase == "beating"
    assert rig.visible() == PIDS


def test_the_first_address_is_asked_less_often_the_longer_it_is_away():
    rig = Rig(backends=2)
    rig.backends[0].up = False
    rig.start(*CREW)
    rig.run(3600)
    to_first = [channel for channel in rig.channels if channel.memory is rig.backends[0]]
    assert 5 <= len(to_first) <= 12
    assert rig.phase == "beating"


def test_pressure_is_not_passed_on_to_the_next_address():
    rig = Rig(backends=2)
    rig.start(*CREW)
    rig.backends[0].fault = failing(FailureKind.BUSY)
    rig.run(60)
    assert not rig.backends[1].calls


# The end


def test_what_was_found_last_is_reported_before_it_ends():
    rig = Rig()
    rig.start(*CREW)
    rig.run(1)
    rig.start(report(9))
    rig.outbox.empty_into_roster()
    rig.session.finish(2)
    assert 1009 in rig.visible()
    assert rig.phase == "stopped"
    assert rig.channels[-1].closed


def test_a_backend_that_is_away_at_the_end_is_asked_once_and_the_loss_is_told(caplog):
    rig = Rig()
    rig.backend.up = False
    rig.start(*CREW)
    rig.run(10)
    before = len(rig.channels)
    rig.session.finish(2)
    assert len(rig.channels) <= before + 1
    assert "last report not delivered: waiting=5" in caplog.text


# Anything at all

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("start"), st.integers(0, 30)),
        st.tuples(st.just("end"), st.integers(0, 30)),
        st.tuples(st.just("run"), st.floats(0, 30)),
        st.tuples(st.just("up"), st.booleans()),
        st.tuples(st.just("restart"), st.booleans()),
        st.tuples(st.just("fault"), st.sampled_from([None, *FailureKind])),
        st.tuples(st.just("rate"), st.floats(0, 1)),
    ),
    max_size=40,
)


class History:
    """What may happen to a session, by name."""

    def __init__(self, rig, random):
        self.rig = rig
        self.random = random
        self.alive = {}
        self.pids = itertools.count(5000)
        self.kind = None
        self.share = 0.5
        rig.backend.fault = self.strike

    def strike(self, *_):
        if self.kind and self.random.random() < self.share:
            raise CallError(self.kind, "fault")

    def start(self, number):
        self.alive[number] = report(number, pid=next(self.pids))
        self.rig.start(self.alive[number])

    def end(self, number):
        if number in self.alive:
            self.rig.end(self.alive.pop(number))

    def run(self, seconds):
        self.rig.run(seconds)

    def up(self, up):
        self.rig.backend.up = up

    def restart(self, keep_memory):
        self.rig.backend.restart(keep_memory=keep_memory)

    def fault(self, kind):
        self.kind = kind

    def rate(self, share):
        self.share = share


@settings(max_examples=150, deadline=None)
@given(STEPS, st.randoms(use_true_random=False))
def test_after_any_history_the_backend_holds_what_lives_within_a_beat(steps, random):
    rig = Rig(heartbeat=20, chance=random.random)
    history = History(rig, random)
    for what, how in steps:
        getattr(history, what)(how)
    history.kind = None
    rig.backend.up = True
    before = {row.id: row.pings for row in rig.state.snapshot().processes}
    rig.run(40)
    rows = rig.state.snapshot().processes
    beating = {row.pid for row in rows if row.visible and row.pings > before.get(row.id, 0)}
    assert beating == {one.process.pid for one in history.alive.values()}
    assert rig.phase == "beating"
    assert not rig.broken_rules
    assert len(rig.roster) == len(history.alive)
    assert not rig.roster.due
    assert not rig.roster.fresh


@pytest.mark.parametrize(
    "text", ["", "a" * 64, "A" * 64, "0" * 32, "0" * 63, "id-\u00e4", "g" * 64]
)
def test_an_id_is_kept_as_it_was_given_whatever_its_form(text):
    one = report(1)
    entry = Entry(one.entity.key, one)
    entry.process_id = text
    assert entry.process_id == text
