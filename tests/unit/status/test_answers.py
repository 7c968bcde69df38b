"""What the agent says of its own health."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from rover.config.settings import BackendSettings, DiscoverySettings
from rover.guard import Guard
from rover.reporter import Reporter
from rover.status.answers import LATE, AgentAnswers


def answers(
    *,
    idle: float = 0.0,
    alive: bool = True,
    names_nothing: bool = False,
    guard: Guard | None = None,
) -> AgentAnswers:
    discovery = SimpleNamespace(
        looked_at=time.monotonic() - idle,
        is_alive=True,
        period=30.0,
        names_nothing=names_nothing,
    )
    reporter = SimpleNamespace(is_alive=alive)
    return AgentAnswers(discovery, reporter, None, "attached", guard or Guard())


def fail() -> None:
    raise KeyError("x")


def failing_for(seconds: float) -> Guard:
    guard = Guard(clock=lambda: time.monotonic() - seconds)
    guard.whole("session", fail)
    return guard


def test_an_agent_at_work_is_well():
    well, detail = answers().health()
    assert well
    assert (detail["discovery"], detail["reporter"]) == ("works", "works")


@pytest.mark.parametrize(
    ("state", "part", "said"),
    [
        ({"idle": 30 + LATE + 1}, "discovery", "has done nothing for 91 s"),
        ({"alive": False}, "reporter", "has ended"),
        (
            {"guard": failing_for(LATE + 1)},
            "defects",
            "session fails time and again: KeyError('x')",
        ),
        ({"names_nothing": True}, "defects", "no process can be judged"),
    ],
)
def test_a_part_that_does_not_do_its_work_is_named(state, part, said):
    well, detail = answers(**state).health()
    assert not well
    assert said in detail[part]


def test_a_defect_that_may_pass_is_no_illness_yet():
    assert answers(guard=failing_for(LATE - 5)).health()[0]


def test_a_defect_that_one_process_brings_out_is_no_illness():
    guard = Guard(clock=lambda: time.monotonic() - LATE - 1)
    guard.one("judge", "pid=7", fail)
    assert answers(guard=guard).health()[0]


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
