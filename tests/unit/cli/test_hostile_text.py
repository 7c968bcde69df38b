"""Whatever names, command lines, reasons and paths hold: no screen obeys it, and none overflows."""

from __future__ import annotations

import io
import json
from typing import Any

import overviews
import pytest
import stories
from backend_wire import host, report
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from wcwidth import wcwidth

from rover.backend import State
from rover.cli import events, output, processes, screen
from rover.cli.doctor import page as doctor_page
from rover.cli.status import page as status_page
from rover.cli.stories import pages
from rover.cli.terminal import Screen
from rover.cli.view import View
from rover.doctor.checks import fail, warn
from rover.explain.entities import listed
from rover.status.overview import overview

SLY = (
    "\x1b[2J\x1b]0;owned\x07\x9b31m",
    "\u202egnp.exe\u2066\u200f",
    "\r\n\t\x00\x7f\u2028",
    "漢字" * 40,
    "🐍 e\u0301\u0301" * 30,
    "\u200d\ufe0f\u3164",
)
texts = st.one_of(st.sampled_from(SLY), st.text(max_size=80))
widths = st.integers(20, 160)


def spoiled(told: Any, text: str) -> Any:
    """Put a text into every string, at its end, but for the words that are known by heart."""
    match told:
        case str():
            return told + text
        case dict():
            return {name: spoiled(value, text) for name, value in told.items()}
        case list() | tuple():
            return [spoiled(each, text) for each in told]
    return told


def is_harmless(lines: list[str], width: int) -> None:
    for line in lines:
        assert all(letter.isprintable() for letter in line), line
        assert sum(wcwidth(letter) for letter in line) <= width, line


STORY = stories.told(stories.host(), stories.ON_HOST)
OVERVIEW = overview(overviews.without_backend())
KNOWN = stories.Known(stories.host(), stories.ON_HOST)
ROW = listed(KNOWN.table.why(stories.ON_HOST.pid), stories.kept)
EVENT = {
    "kind": "exec", "at": overviews.NOW, "pid": 4_194_304, "name": "java", "service": "shop",
    "process": "java", "container": "c", "pod": "web", "namespace": "default",
    "command_line": "java -jar app.jar",
}  # fmt: skip


@given(texts, widths)
def test_of_an_overview(text: str, width: int):
    is_harmless(status_page(spoiled(OVERVIEW, text), Screen(width, 24)), width)


@given(texts, widths)
def test_of_a_story(text: str, width: int):
    is_harmless(pages(spoiled(STORY, text), Screen(width, 24)), width)


@given(texts, widths)
def test_of_a_list_of_processes(text: str, width: int):
    rows = [spoiled(ROW, text), spoiled(ROW | {"entities": []}, text)]
    is_harmless(processes.table(rows, width, wide=False), width)
    assert all(name.isprintable() for name in processes.names(rows))


@given(texts, widths)
def test_of_an_event(text: str, width: int):
    kind = EVENT["kind"]
    line = events._line(spoiled(EVENT, text) | {"kind": kind}, "columns", Screen(width, 24))
    is_harmless([line], width)


@given(texts, widths)
def test_of_a_report_on_the_host(text: str, width: int):
    checks = [fail(f"backend{text}", f"refused{text}", f"start it{text}"), warn("BCC", text, text)]
    is_harmless(doctor_page(checks, Screen(width, 24)), width)


@given(texts, widths)
def test_of_the_live_view(text: str, width: int):
    state, view = State(), View(gone_after=50.0)
    state.subscribe(lambda changes: [*view.backend_changed(changes)])
    state.report(report(host(f"java{text}", 4_194_304, service=f"shop{text}", instance=text)))
    page = screen.page_of(view, width, 24, f"[red]{width}", screen.Place(), scrolls=True)
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(screen.drawn(page))
    is_harmless(console.file.getvalue().splitlines(), width)


@pytest.mark.parametrize("text", SLY)
def test_of_json_which_says_the_same(text: str):
    told = output.as_json({"name": text})
    assert all(letter.isprintable() or letter == "\n" for letter in told)
    assert json.loads(told) == {"name": text}
