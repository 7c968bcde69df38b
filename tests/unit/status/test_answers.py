"""What the agent says of its own health."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from rover.config.settings import BackendSettings, DiscoverySettings
from rover.reporter import Reporter
from rover.reporter.reporter import Defect
from rover.status.answers import LATE, AgentAnswers


def answers(
    *, idle: float = 0.0, alive: bool = True, defect: Defect | None = None, state: str = "works"
) -> AgentAnswers:
    discovery = SimpleNamespace(looked_at=time.monotonic() - idle, is_alive=True, period=30.0)
    reporter = SimpleNamespace(is_alive=alive, defect=defect)
    reads = SimpleNamespace(state=lambda: state)
    return AgentAnswers(discovery, reporter, None, reads, "attached")


def ago(seconds: float) -> Defect:
    return Defect("KeyError('x')", time.monotonic() - seconds)


def test_an_agent_at_work_is_well():
    assert answers().health() == (
        True,
        {"discovery": "works", "reporter": "works", "foreign_reads": "works"},
    )


def test_a_read_that_another_process_holds_up_is_told_and_is_no_illness():
    state = "stuck for 3 s on pid 7 of uid 1000, which is left out; others are read"
    well, told = answers(state=state).health()
    assert well
    assert told["foreign_reads"] == state


@pytest.mark.parametrize(
    ("state", "part", "said"),
    [
        ({"idle": 30 + LATE + 1}, "discovery", "has done nothing for 91 s"),
        ({"alive": False}, "reporter", "has ended"),
        ({"defect": ago(LATE + 1)}, "reporter", "by a defect: KeyError('x')"),
    ],
)
def test_a_part_that_does_not_do_its_work_is_named(state, part, said):
    well, detail = answers(**state).health()
    assert not well
    assert said in detail[part]


def test_a_defect_that_may_pass_is_no_illness_yet():
    assert answers(defect=ago(LATE - 5)).health()[0]


def test_the_reporter_tells_a_defect_until_a_step_succeeds(monkeypatch, eventually):
    monkeypatch.setattr("rover.reporter.reporter.PAUSE_AFTER_BUG", 0.01)
    reporter = Reporter(BackendSettings(addr="127.0.0.1:1"), DiscoverySettings(), "id")
    step, failing = reporter._session.step, [True]

    def broken():
        if failing:
            raise KeyError("x")
        return step()

    monkeypatch.setattr(reporter._session, "step", broken)
    reporter.start()
    try:
        first = eventually(lambda: reporter.defect)
        eventually(lambda: reporter.defect is not first)
        assert reporter.defect == first, "the same defect since the same time"
        failing.clear()
        eventually(lambda: reporter.defect is None)
    finally:
        reporter.stop()
