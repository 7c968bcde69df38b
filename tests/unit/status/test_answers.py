"""What the agent says of its own health."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from rover.config.settings import BackendSettings, DiscoverySettings
from rover.guard import Guard
from rover.reporter.reporter import Reporter
from rover.reporter.state import Phase
from rover.status.answers import FAILING, LATE, AgentAnswers
from rover.status.overview import About

PRIVATE = "10.9.8.7:11800 says: no such tenant 'acme'"


def answers(
    *,
    late: float = 0.0,
    ended: bool = False,
    alive: bool = True,
    names_nothing: bool = False,
    guard: Guard | None = None,
    state: str = "works",
) -> AgentAnswers:
    discovery = SimpleNamespace(
        expected_at=time.monotonic() - late,
        is_alive=not ended,
        wait_scanned=lambda _: True,
        names_nothing=names_nothing,
    )
    session = SimpleNamespace(
        phase=Phase.BACKING_OFF,
        backend="10.9.8.7:11800",
        reason=PRIVATE,
        last_error=PRIVATE,
        entities=1,
        waiting=0,
        refused=0,
    )
    reporter = SimpleNamespace(is_alive=alive, session=session)
    watch = SimpleNamespace(resource="pods", listed=True, fault=PRIVATE)
    cluster = SimpleNamespace(states=lambda: (watch,))
    reads = SimpleNamespace(state=lambda: state)
    ebpf = f"missing CAP_BPF, {PRIVATE}"
    about = About("id", "1.0", 1, 0.0, "none", ebpf, kubernetes=True)
    return AgentAnswers(
        discovery, reporter, cluster, reads=reads, about=about, guard=guard or Guard()
    )


def fail() -> None:
    raise KeyError("x")


def failing_for(seconds: float) -> Guard:
    guard = Guard(clock=lambda: time.monotonic() - seconds)
    guard.whole("session", fail)
    return guard


def test_an_agent_at_work_is_well():
    health = answers().health()
    assert health.fine
    assert health.brief == health.detail
    assert (health.brief["discovery"], health.brief["reporter"]) == ("works", "works")
    assert health.brief["foreign_reads"] == "works"


def test_a_discovery_thread_that_sleeps_until_something_is_due_is_well():
    assert answers(late=-30).health().fine


def test_a_read_that_another_process_holds_up_is_told_and_is_no_illness():
    state = "stuck for 3 s on pid 7 of uid 1000, which is left out; others are read"
    health = answers(state=state).health()
    assert health.fine
    assert health.detail["foreign_reads"] == state
    assert health.brief["foreign_reads"] == "held up"


@pytest.mark.parametrize(
    ("state", "part", "said"),
    [
        ({"late": LATE + 1}, "discovery", "is stuck: nothing has been done for 11 s"),
        ({"ended": True}, "discovery", "has ended"),
        ({"alive": False}, "reporter", "has ended"),
        (
            {"guard": failing_for(FAILING + 1)},
            "defects",
            "session fails time and again: KeyError('x')",
        ),
        ({"names_nothing": True}, "defects", "no process can be judged"),
    ],
)
def test_a_part_that_does_not_do_its_work_is_named(state, part, said):
    health = answers(**state).health()
    assert not health.fine
    assert said in health.detail[part]


def test_what_a_defect_says_is_not_for_everyone():
    assert "KeyError" not in str(answers(guard=failing_for(FAILING + 1)).health().brief)


def test_no_address_and_no_message_of_others_is_for_everyone():
    ready = answers().readiness()
    assert "10.9.8.7" not in str(ready.brief)
    assert "acme" not in str(ready.brief)
    assert ready.brief["ebpf"] == "none"
    assert ready.brief["kubernetes"] == {"pods": "listed"}
    assert ready.detail["backend"] == "10.9.8.7:11800"
    assert ready.detail["last_error"] == PRIVATE
    assert ready.detail["kubernetes"] == {"pods": PRIVATE}


def test_a_defect_that_may_pass_is_no_illness_yet():
    assert answers(guard=failing_for(FAILING - 5)).health().fine


def test_a_defect_that_one_process_brings_out_is_no_illness():
    guard = Guard(clock=lambda: time.monotonic() - FAILING - 1)
    guard.one("judge", "pid=7", fail)
    assert answers(guard=guard).health().fine


def test_the_reporter_tells_a_defect_until_a_step_succeeds(monkeypatch, eventually):
    monkeypatch.setattr("rover.reporter.reporter.PAUSE_AFTER_DEFECT", 0.01)
    guard = Guard()
    reporter = Reporter(BackendSettings(addr="127.0.0.1:1"), DiscoverySettings(), "id", guard=guard)
    step, failing = reporter._session.step, [True]

    def broken():
        if failing:
            raise KeyError("x")
        return step()

    monkeypatch.setattr(reporter._session, "step", broken)
    reporter.start()
    try:
        first = eventually(guard.failing)
        eventually(lambda: guard.counts["session"] > 3)
        assert guard.failing().since == first.since, "the same defect since the same time"
        failing.clear()
        eventually(lambda: guard.failing() is None)
    finally:
        reporter.stop()
