"""The live view as a person sees it: what fits, what is said of the rest, and keys that scroll."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from captured import agrees, shown

TESTS = Path(__file__).parents[1]
VIEW = f"""
import queue, sys
sys.path.insert(0, {str(TESTS)!r})
from backend_wire import beat, host, ping, report
from rover.backend import State
from rover.cli import screen
from rover.cli.live import show
from rover.cli.signals import until_signalled
from rover.model import Changes, Entity
from rover.stopping import StopRequest

screen.duration = lambda seconds: "5s"
state = State()
names = [f"program-{{number:02}}" for number in range(60)]
line = {{"command_line": "/usr/bin/program --port 80 --data-directory /srv/data"}}
state.report(report(*(host(name, 4000 + at, service="shop", instance="node-1", properties=line)
                      for at, name in enumerate(names))))
state.beat(beat(*(ping(name, service="shop", instance="node-1") for name in names)))
ended = queue.SimpleQueue()
ended.put(Changes(withdrawn=tuple(
    Entity("OS_LINUX", "shop", "node-1", name).key for name in names[:2])))
stop = StopRequest()
with until_signalled(stop):
    show(state, ended, stop, gone_after=1e9, title="the live view")
"""


def view(way: str, until: str, presses: bytes = b"") -> str:
    return shown(sys.executable, "-c", VIEW, way=way, until=until, presses=presses)


@pytest.mark.parametrize("way", ["80x24", "140x40"])
def test_it_fits_its_terminal_with_what_ended_last_and_how_it_ends(way: str):
    agrees(f"live-{way}", view(way, "2 just ended.*Ctrl-C ends"))


@pytest.mark.parametrize("way", ["dumb", "pipe"])
def test_where_no_cursor_moves_each_change_is_a_line(way: str):
    agrees(f"live-{way}", view(way, r"(?s)(\n- [^\n]*){2}"))


@pytest.mark.parametrize(
    ("presses", "told"),
    [
        (b"\x1b[6~", "16-30 shown"),
        (b"\x1b[F", "44-58 shown"),
        (b"\x1b[F\x1b[H", "1-15 shown"),
        (b"jjj", "4-18 shown"),
    ],
)
def test_keys_scroll_it(presses: bytes, told: str):
    assert "Ctrl-C ends" in view("80x24", told, presses)
