"""What systemd hears of the agent."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rover.cli.systemd import BEATS, Supervisor


class Heard:
    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(5)

    def __call__(self) -> list[str]:
        return self.socket.recv(4_096).decode().split("\n")


@pytest.fixture(params=["file", "abstract"])
def heard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Heard, str]]:
    path = str(tmp_path / "notify") if request.param == "file" else f"@rover-{os.getpid()}"
    listener = Heard(path.replace("@", "\0"))
    yield listener, path
    listener.socket.close()


def test_it_hears_when_the_agent_is_ready_well_and_ending(heard: tuple[Heard, str]):
    hears, address = heard
    supervisor = Supervisor({"NOTIFY_SOCKET": address})
    supervisor.ready("attached")
    assert hears() == ["READY=1", "STATUS=attached"]
    supervisor.well("attached")
    assert hears() == ["WATCHDOG=1"]
    supervisor.well("beating")
    assert hears() == ["WATCHDOG=1", "STATUS=beating"]
    supervisor.stopping()
    assert hears() == ["STOPPING=1"]


def test_an_agent_that_is_ill_gives_no_sign_of_life(heard: tuple[Heard, str]):
    hears, address = heard
    supervisor = Supervisor({"NOTIFY_SOCKET": address})
    supervisor.ill("discovery is stuck")
    supervisor.ill("discovery is stuck")
    supervisor.stopping()
    assert hears() == ["STATUS=discovery is stuck"]
    assert hears() == ["STOPPING=1"], "said once"


def test_signs_of_life_come_several_times_in_the_time_in_which_one_is_due():
    supervisor = Supervisor({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "60000000"})
    assert supervisor.period == 60 / BEATS


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "60000000"},
        {"NOTIFY_SOCKET": "/x"},
        {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "0"},
        {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "often"},
        {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"},
    ],
)
def test_where_none_is_due_there_is_no_period(environment: dict[str, str]):
    assert Supervisor(environment).period is None


def test_the_agents_children_have_nothing_to_say_there():
    environment = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "HOME": "/"}
    Supervisor(environment)
    assert environment == {"HOME": "/"}


@pytest.mark.parametrize("tell", [Supervisor.stopping, lambda each: each.ready("x")])
def test_without_systemd_nobody_is_told(tell: Callable[[Supervisor], None]):
    tell(Supervisor({}))


def test_a_systemd_that_is_away_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    Supervisor({"NOTIFY_SOCKET": str(tmp_path / "gone")}).stopping()
    assert "systemd cannot be told STOPPING=1" in caplog.text
