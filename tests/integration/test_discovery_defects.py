"""Whatever fails in the discovery thread, and however often: the rest of it goes on."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from census_rig import Rig, running

from rover.discovery import loop
from rover.discovery.loop import MAILBOX, QUESTIONS
from rover.errors import RoverError
from rover.model import Changes, Reason

pytestmark = pytest.mark.kernel

Spawn = Callable[..., "subprocess.Popen[bytes]"]


def fail(*_: object, **__: object) -> Any:
    raise RecursionError("brought out on purpose")


def sees_what_starts_and_ends(rig: Rig, spawn: Spawn) -> None:
    process = spawn("/bin/sleep", "71")
    rig.seen.wait_for(process.pid)
    process.kill()
    process.wait()
    rig.seen.wait_for(process.pid, gone=True)


@pytest.mark.parametrize("step", ["forget", "apply", "refresh", "figures"])
def test_a_judge_that_always_fails_in_one_step_costs_that_step_alone(
    step: str, spawn: Spawn, eventually: Callable[..., object]
):
    with running() as rig:
        monkey(rig.judge, step)
        if step == "refresh":
            rig.judge.next_refresh = lambda now: now
        if step == "apply":
            rig.discovery.post(object())
        sees_what_starts_and_ends(rig, spawn)
        assert rig.discovery.figures()
        where = {"apply": "news"}.get(step, step)
        eventually(lambda: rig.guard.counts[where])
        failing = rig.guard.failing()
        assert (failing.defect.where if failing else "") == (step if step == "refresh" else "")


def test_a_judge_that_cannot_say_when_to_be_asked_again_is_asked_now_and_then(
    spawn: Spawn, eventually: Callable[..., object]
):
    with running() as rig:
        monkey(rig.judge, "next_refresh")
        rig.discovery.post(())
        sees_what_starts_and_ends(rig, spawn)
        eventually(lambda: rig.guard.failing().defect.where == "next refresh")


def test_a_judge_that_fails_on_all_processes_is_an_illness(
    spawn: Spawn, eventually: Callable[..., object]
):
    with running() as rig:
        assert not rig.discovery.names_nothing
        monkey(rig.judge, "judge")
        process = spawn("/bin/sleep", "71")
        eventually(lambda: rig.discovery.inspect(lambda census: census.why(process.pid)))
        why = rig.discovery.inspect(lambda census: census.why(process.pid))
        assert why.reason is Reason.DEFECT
        assert "brought out on purpose" in why.detail
        assert not rig.discovery.names_nothing, "others were judged before"
        keys = tuple(rig.discovery.inspect(lambda census: [row[0].key for row in census.table]))
        rig.discovery.post(keys)
        eventually(lambda: rig.discovery.names_nothing)


@pytest.mark.parametrize("step", ["take", "follow", "unfollow", "counters", "has_news"])
def test_probes_that_fail_leave_a_scan_that_finds_what_starts(
    step: str, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(loop, "HEAL_INTERVAL", 0.2)
    monkeypatch.setattr(loop, "HEAL_PAUSE", 0.2)
    with running(reconcile_period=1.0) as rig:
        real = getattr(rig.probes, step)
        monkey(rig.probes, step)
        process = spawn("/bin/sleep", "71")
        if step == "follow":  # without it no process is known to be watched: it is shown as failed
            rig.discovery.inspect(lambda census: census.why(process.pid))
        else:
            rig.seen.wait_for(process.pid)
        process.kill()
        process.wait()
        rig.seen.wait_for(process.pid, gone=True)
        setattr(rig.probes, step, real)
        sees_what_starts_and_ends(rig, spawn)


def test_a_first_scan_that_fails_is_made_again(monkeypatch: pytest.MonkeyPatch, spawn: Spawn):
    monkeypatch.setattr(loop, "HEAL_PAUSE", 0.05)
    process = spawn("/bin/sleep", "71")
    rig = Rig()
    scan, failures = rig.census.scan, iter(range(3))

    def twice_in_vain() -> None:
        if next(failures, None) is not None:
            fail()
        scan()

    rig.census.scan = twice_in_vain
    rig.discovery.start()
    try:
        rig.seen.wait_for(process.pid)
    finally:
        rig.discovery.stop(5)
    assert (rig.guard.counts["scan"], rig.guard.failing(), rig.failures) == (3, None, [])


def test_a_reconcile_that_fails_is_made_again(
    spawn: Spawn, eventually: Callable[..., object], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(loop, "HEAL_INTERVAL", 0.2)
    monkeypatch.setattr(loop, "HEAL_PAUSE", 0.1)
    with running(reconcile_period=0.2) as rig:
        reconcile = rig.census.reconcile
        rig.census.reconcile = fail
        eventually(lambda: rig.guard.counts["reconcile"] > 1)
        sees_what_starts_and_ends(rig, spawn)
        rig.census.reconcile = reconcile
        eventually(lambda: rig.guard.failing() is None)


def test_an_entity_that_cannot_be_published_hurts_no_other_and_is_told_later(
    spawn: Spawn, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(loop, "HEAL_INTERVAL", 0.1)
    with running(reconcile_period=0.2) as rig:
        bad = []
        publish = rig.discovery._publish

        def refuse(changes: Changes) -> None:
            if any(report.process.pid in bad for report in changes.announced):
                fail()
            publish(changes)

        rig.discovery._publish = refuse
        process = subprocess.Popen(["/bin/sleep", "72"])
        bad.append(process.pid)
        try:
            sees_what_starts_and_ends(rig, spawn)
            assert rig.seen.process(process.pid) is None
            bad.clear()
            rig.seen.wait_for(process.pid)
        finally:
            process.kill()
            process.wait()


def test_a_question_that_fails_is_answered_with_its_defect_at_once():
    with running(ebpf=False) as rig:
        began = time.monotonic()
        with pytest.raises(RoverError, match="brought out on purpose"):
            rig.discovery.inspect(fail)
        assert time.monotonic() - began < 3.0
        assert rig.discovery.inspect(lambda census: len(census.table))


def test_a_full_mailbox_never_holds_up_who_posts_and_questions_are_answered_all_the_same(
    eventually: Callable[..., object],
):
    with running(ebpf=False) as rig:
        stuck, go_on = threading.Event(), threading.Event()

        def stay(_: object) -> tuple[()]:
            stuck.set()
            go_on.wait(20)
            return ()

        rig.judge.apply = stay
        rig.discovery.post("first")
        assert stuck.wait(5)
        taken = [rig.discovery.post("more") for _ in range(MAILBOX + 10)]
        assert taken.count(False) >= 10
        with pytest.raises(RoverError, match="no answer within"):
            rig.discovery.inspect(len, timeout=0.01)
        for _ in range(QUESTIONS):
            with pytest.raises(RoverError):
                rig.discovery.inspect(len, timeout=0.001)
        with pytest.raises(RoverError, match="too many questions"):
            rig.discovery.inspect(len, timeout=0.001)
        go_on.set()
        eventually(lambda: rig.discovery._questions.qsize() < QUESTIONS)
        assert rig.discovery.inspect(lambda census: len(census.table))


def monkey(owner: object, step: str) -> None:
    setattr(owner, step, fail)
