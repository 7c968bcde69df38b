"""`rover log-level` on a running agent."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent_rig import ROVER, RunningAgent, running

from rover.backend import EmbeddedBackend

Eventually = Callable[..., object]
PERIODS = "process_discovery: {heartbeat_period: 1}\nlogger: {format: json}\n"


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAgent]:
    folder = tmp_path_factory.mktemp("agent")
    with EmbeddedBackend() as backend, running(backend, folder, config=PERIODS) as agent:
        agent.wait_for(1, 30)
        yield agent


def log_level(state: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROVER, "log-level", "--state-dir", state, *arguments],
        capture_output=True, text=True, check=False, timeout=30, env={**os.environ},
    )  # fmt: skip


def lines(agent: RunningAgent) -> list[dict[str, object]]:
    return [json.loads(line) for line in agent.log.read_text().splitlines()]


def test_the_level_is_shown(agent: RunningAgent):
    said = log_level(agent.state)
    assert (said.returncode, said.stdout) == (0, "INFO as configured\n"), said.stderr


def test_beats_are_told_for_as_long_as_somebody_asked(agent: RunningAgent, eventually: Eventually):
    assert not [line for line in lines(agent) if line["level"] == "DEBUG"]
    said = log_level(agent.state, "debug", "--for", "5m")
    assert (said.returncode, said.stdout) == (0, "DEBUG for 5m, then INFO\n"), said.stderr
    assert log_level(agent.state).stdout.startswith("DEBUG for ")
    eventually(lambda: [line for line in lines(agent) if line["level"] == "DEBUG"], 10)
    assert log_level(agent.state, "configured").stdout == "INFO as configured\n"
    assert lines(agent)[-1]["message"] == "log level=INFO as configured"


def test_every_line_of_the_log_is_an_object(agent: RunningAgent):
    (started,) = [line for line in lines(agent) if str(line["message"]).startswith("started")]
    assert started["logger"] == "rover.agent"
    assert isinstance(started["fields"]["seconds"], float)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("loud",), "is not one of"),
        (("debug", "--for", "soon"), "write a duration"),
        (("debug", "--for", "0s"), "more than 0 and at most 24h"),
        (("debug", "--for", "25h"), "more than 0 and at most 24h"),
    ],
)
def test_what_is_no_level_and_no_time_is_refused(
    agent: RunningAgent, arguments: tuple[str, ...], told: str
):
    said = log_level(agent.state, *arguments)
    assert said.returncode == 2
    assert told in said.stderr


def test_where_no_agent_runs_that_is_said(tmp_path: Path):
    said = log_level(tmp_path, "debug")
    assert said.returncode == 1
    assert "no agent runs with the state directory" in said.stderr
