"""`rover status`: one screen from a running agent, on every kind of terminal."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import overviews
import pytest
from agent_rig import BY_PID, ROVER, running
from captured import WAYS, agrees, shown, without_times
from status_rig import Fake, serving

from rover.backend import EmbeddedBackend
from rover.status.overview import Parts, overview

AGENTS = {
    "well": overviews.parts(),
    "degraded": overviews.without_backend(),
    "ill": overviews.stuck(),
}


class Told(Fake):
    """Has an overview to tell."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.told = overview(parts)

    def overview(self) -> dict:
        return self.told


@pytest.fixture(params=AGENTS)
def agent(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    tmp_path.chmod(0o700)
    with serving(tmp_path, "", Told(AGENTS[request.param])):
        yield request.param, tmp_path


def status(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROVER, "status", "--state-dir", folder, *options],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_it_fits_every_terminal(agent: tuple[str, Path], way: str):
    name, folder = agent
    text = shown(ROVER, "status", "--state-dir", folder, way=way)
    agrees(f"status-{name}-{way}", text)
    if way != "pipe":
        assert "\x1b" not in text


@pytest.mark.parametrize("way", ["80x24", "140x40"])
def test_watched_it_is_drawn_in_place_and_says_how_to_end_it(agent: tuple[str, Path], way: str):
    name, folder = agent
    text = shown(
        ROVER, "status", "--watch", "--every", "0.5", "--state-dir", folder, way=way,
        until="Ctrl-C ends",
    )  # fmt: skip
    agrees(f"status-watch-{name}-{way}", text)


@pytest.mark.parametrize("way", ["dumb", "pipe"])
def test_watched_where_no_cursor_moves_each_look_follows_the_other_with_its_time(
    agent: tuple[str, Path], way: str
):
    name, folder = agent
    text = shown(
        ROVER, "status", "--watch", "--every", "0.5", "--state-dir", folder, way=way,
        until=r"(?s)(state .*? files\s.*?){2}",
    )  # fmt: skip
    agrees(f"status-watch-{name}-{way}", without_times(text))


def test_watched_as_json_each_look_is_a_line(agent: tuple[str, Path]):
    name, folder = agent
    text = shown(
        ROVER, "status", "--watch", "--every", "0.5", "-o", "json", "--state-dir", folder,
        way="pipe", until=r"(.+\n){2}",
    )  # fmt: skip
    assert [json.loads(line) for line in text.splitlines() if line] == [AGENTS_TOLD[name]] * 2


def test_watched_it_goes_on_when_the_agent_goes_and_comes_back(tmp_path: Path):
    tmp_path.chmod(0o700)
    file = tmp_path / "shown"
    with file.open("wb") as sink:
        watching = subprocess.Popen(
            [ROVER, "status", "--watch", "--every", "0.5", "--state-dir", tmp_path], stdout=sink
        )
    try:
        for each in ("no answer  no agent runs", "state       well", "no answer  no agent runs"):
            file.write_text("")
            if each.startswith("state"):
                with serving(tmp_path, "", Told(AGENTS["well"])):
                    wait_for(file, each)
            else:
                wait_for(file, each)
    finally:
        watching.send_signal(signal.SIGINT)
        assert watching.wait(10) == 0


def wait_for(file: Path, text: str) -> None:
    until = time.monotonic() + 20
    while text not in file.read_text():
        assert time.monotonic() < until, file.read_text()
        time.sleep(0.05)


def test_watched_by_a_reader_that_has_had_enough_it_ends_without_a_word(agent: tuple[str, Path]):
    _, folder = agent
    done = subprocess.run(
        ["sh", "-c", f"{ROVER} status --watch --every 0.5 --state-dir {folder} | head -n 2"],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert len(done.stdout.splitlines()) == 2
    assert done.stderr == ""


def test_the_exit_code_tells_how_it_fares(agent: tuple[str, Path]):
    name, folder = agent
    done = status(folder)
    assert (done.returncode, done.stderr) == ({"well": 0, "degraded": 3, "ill": 4}[name], "")
    told = status(folder, "-o", "json")
    assert told.returncode == done.returncode
    assert json.loads(told.stdout) == AGENTS_TOLD[name]


AGENTS_TOLD = {name: json.loads(json.dumps(overview(parts))) for name, parts in AGENTS.items()}


def test_without_an_agent_it_ends_with_1_and_says_what_to_do(tmp_path: Path):
    done = status(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no agent runs with the state directory" in done.stderr
    assert "--state-dir" in done.stderr


def test_an_agent_that_knows_no_overview_is_told_to_be_of_another_version(tmp_path: Path):
    tmp_path.chmod(0o700)
    answers = Told(AGENTS["well"])
    answers.told = {"error": "there are /metrics, /healthz"}
    with serving(tmp_path, "", answers):
        done = status(tmp_path)
    assert done.returncode == 1
    assert "is of another version: there are /metrics" in done.stderr


def test_a_name_from_elsewhere_moves_no_cursor(tmp_path: Path):
    tmp_path.chmod(0o700)
    answers = Told(AGENTS["well"])
    answers.told["session"]["reason"] = "\x1b[2J\n\x07"
    with serving(tmp_path, "", answers):
        assert not re.search(r"[\x00-\x09\x0b-\x1f]", status(tmp_path).stdout)


@pytest.mark.kernel
def test_a_running_agent_is_well_and_tells_what_it_costs(tmp_path: Path):
    with EmbeddedBackend() as backend, running(backend, tmp_path, config=BY_PID) as agent:
        agent.wait_for(os.getpid(), 30)
        told = json.loads(status(agent.state, "-o", "json").stdout)
        assert (told["state"], told["because"]) == ("well", [])
        assert told["agent"]["pid"] == agent.pid
        assert told["ebpf"]["way"] == "raw tracepoints"
        assert told["session"]["backend"] == backend.address
        assert told["discovery"]["reasons"]["reported"] >= 2
        assert told["cost"]["processes"] == 2
        assert 2**24 < told["cost"]["memory"] < 2**28
        assert told["cost"]["cpu_seconds"] > 0
