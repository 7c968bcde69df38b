from __future__ import annotations

import contextlib
import io
import queue
import re
import threading
import time

import pytest
from backend_wire import beat, host, ping, report
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rover.backend import State
from rover.cli.keys import Key, keys_in
from rover.cli.live import show
from rover.cli.screen import Place, page_of
from rover.cli.screen import drawn as drawn_page
from rover.cli.text import duration
from rover.cli.view import FORGET_AFTER, View
from rover.model import Changes, Entity, Process, ProcessKey, Report
from rover.printable import printable
from rover.stopping import StopRequest


@pytest.fixture
def state():
    return State()


@pytest.fixture
def view(state):
    """A view that hears of every change of the state; its lines are collected."""
    made = View(gone_after=50)
    made.lines = []
    state.subscribe(lambda changes: made.lines.extend(made.backend_changed(changes)))
    return made


def entity(process="p", layer="OS_LINUX"):
    return Entity(layer, "s", "i", process)


def announced(process="p"):
    record = Process(ProcessKey(1, 1), 0, "n", "/n", "n", "/", 0, "", 0, 0, 1, 0)
    return Changes(announced=(Report(entity(process), record),))


def withdrawn(*processes):
    return Changes(withdrawn=tuple(entity(process).key for process in processes))


def later(seconds):
    return time.monotonic() + seconds


def test_a_process_comes_with_its_report(state, view):
    state.report(report(host("nginx", 42, service="web", instance="h")))
    assert view.lines == ["+ web/h/nginx pid=42"]


def test_a_process_known_from_beats_gets_its_pid_from_the_report(state, view):
    state.beat(beat(ping()))
    state.report(report(host(pid=7)))
    assert view.lines == ["+ s/i/p pid=?", "~ s/i/p pid=7"]


def test_beats_and_reports_of_what_is_known_are_no_news(state, view):
    for _ in range(3):
        state.report(report(host()))
        state.beat(beat(ping()))
    assert view.lines == ["+ s/i/p pid=1"]


def test_a_takeover_shows_the_new_pid_and_the_former(state, view):
    state.report(report(host(pid=1)))
    state.report(report(host(pid=2)))
    assert view.lines[1:] == ["~ s/i/p pid=2 (was 1)"]


def test_a_process_without_beats_is_gone_after_the_threshold(state, view):
    state.report(report(host()))
    assert list(view.pass_time(later(49))) == []
    assert list(view.pass_time(later(51))) == ["- s/i/p pid=1"]
    assert list(view.pass_time(later(52))) == []
    assert view.counts() == (0, 1)


def test_a_process_that_beats_again_is_back(state, view):
    state.report(report(host()))
    list(view.pass_time(later(51)))
    state.beat(beat(ping()))
    assert view.lines[1:] == ["+ s/i/p pid=1"]
    assert view.counts() == (1, 0)


def test_the_agents_table_tells_at_once_what_ended(state, view):
    state.report(report(host("a"), host("b", 2)))
    assert list(view.agent_changed(withdrawn("a"), later(0))) == ["- s/i/a pid=1"]
    assert view.counts() == (1, 1)


def test_a_late_beat_brings_back_nothing_that_the_agent_withdrew(state, view):
    state.report(report(host()))
    list(view.agent_changed(withdrawn("p"), later(0)))
    state.beat(beat(ping()))
    assert view.counts() == (0, 1)


def test_what_the_agent_announces_again_is_back_with_its_report(state, view):
    state.report(report(host(pid=1)))
    list(view.agent_changed(withdrawn("p"), later(0)))
    list(view.agent_changed(announced(), later(0)))
    state.report(report(host(pid=2)))
    assert view.lines[1:] == ["+ s/i/p pid=2"]


def test_a_report_that_was_overtaken_by_the_end_comes_and_goes(state, view):
    list(view.agent_changed(withdrawn("p"), later(0)))
    state.report(report(host()))
    assert view.lines == ["+ s/i/p pid=1", "- s/i/p pid=1"]


def test_a_withdrawal_finds_its_row_after_a_change_of_layer(state, view):
    state.report(report(host(layer="MESH")))
    state.report(report(host(layer="OS_LINUX")))
    assert list(view.agent_changed(withdrawn("p"), later(0))) == ["- s/i/p pid=1"]


def test_a_backend_that_forgets_takes_its_processes_along(state, view):
    state.report(report(host()))
    state.forget()
    assert view.lines[1:] == ["- s/i/p pid=1 (the backend lost its memory)"]
    assert view.counts() == (0, 0)


def test_what_is_gone_leaves_the_view_in_the_end(state, view):
    state.report(report(host()))
    list(view.agent_changed(withdrawn("p"), later(0)))
    list(view.pass_time(later(FORGET_AFTER + 1)))
    assert view.live(0, 10) == view.ended(10) == []


def test_withdrawals_nobody_ever_hears_of_do_not_pile_up(view):
    for number in range(10_100):
        list(view.agent_changed(withdrawn(f"p{number}"), later(0)))
    assert len(view._withdrawn) == 10_000


def test_what_is_there_comes_with_the_latest_first_and_what_ended_apart(state, view):
    state.report(report(*(host(f"p{number}", number + 1) for number in range(9))))
    state.report(report(host("p3", 99)))
    list(view.agent_changed(withdrawn("p1"), later(0)))
    assert [row.process for row in view.live(0, 3)] == ["p3", "p8", "p7"]
    assert [row.process for row in view.live(3, 100)] == ["p6", "p5", "p4", "p2", "p0"]
    assert [row.process for row in view.ended(3)] == ["p1"]


def test_names_cannot_move_the_cursor_or_end_a_line(state, view):
    state.report(report(host("a\nb\x1b[2J\x00", 1)))
    assert view.lines == ["+ s/i/a\ufffdb\ufffd[2J\ufffd pid=1"]


@given(st.text())
def test_whatever_a_name_holds_what_is_shown_is_printable_and_no_longer(text):
    shown = printable(text)
    assert len(shown) <= len(text)
    assert shown.isprintable()
    assert printable(shown) == shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (7_199, "119m"), (7_200, "2h"),
     (172_800, "2d")],
)  # fmt: skip
def test_spans_are_written_in_their_largest_unit(seconds, text):
    assert duration(seconds) == text


def drawn(view, width=100, height=24, title="title", begin=0, *, scrolls=True):
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    console.print(drawn_page(page_of(view, width, height, title, Place(begin), scrolls=scrolls)))
    return console.file.getvalue()


def test_a_page_shows_names_pid_age_and_last_beat(state, view):
    state.report(report(host("nginx", 42, service="web", instance="host-1")))
    state.beat(beat(ping("nginx", service="web", instance="host-1")))
    state.report(report(host("new", 43)))
    text = drawn(view)
    assert re.search(r"web\s+host-1\s+nginx\s+42\s+0s\s+0s ago", text)
    assert re.search(r"new\s+43\s+0s\s+none yet", text)
    assert "2 processes; Ctrl-C ends" in text


def test_a_page_shows_what_is_gone(state, view):
    state.report(report(host("nginx", 42)))
    list(view.agent_changed(withdrawn("nginx"), later(0)))
    assert re.search(r"nginx\s+42\s+\ds\s+gone", drawn(view))


@pytest.mark.parametrize("width", [20, 40, 79, 80, 200])
@pytest.mark.parametrize("height", [1, 8, 24, 60])
def test_a_page_fits_its_terminal_and_says_what_it_hides(state, view, width, height):
    state.report(report(*(host("p" * 60 + str(number), number + 1) for number in range(100))))
    lines = drawn(view, width, height).splitlines()
    assert len(lines) <= max(height, 8)
    assert all(len(line) <= width for line in lines)
    if width >= 79:
        shown = max(height - 7, 1)
        told = f"100 processes, 1-{shown} shown, PgUp PgDn scroll; Ctrl-C ends"
        assert told in lines[-1]


def test_without_a_keyboard_a_page_says_how_many_do_not_fit(state, view):
    state.report(report(*(host(f"p{number}", number + 1) for number in range(100))))
    assert "100 processes, 1-17 shown, 83 do not fit" in drawn(view, scrolls=False)


def test_what_ended_takes_no_more_than_its_share_below_what_is_there(state, view):
    state.report(report(*(host(f"p{number:02}", number + 1) for number in range(60))))
    list(view.agent_changed(withdrawn(*(f"p{number:02}" for number in range(30))), later(0)))
    rows = re.findall(r"(?m)^ s .*$", drawn(view))
    ended = ["gone" in row for row in rows]
    assert sum(ended) == 3
    assert ended == sorted(ended)
    assert "30 processes, 30 just ended, 1-14 shown" in drawn(view)


def test_a_wide_page_shows_layer_and_command_as_well(state, view):
    state.report(report(host("nginx", 42)))
    assert "layer" not in drawn(view, 109)
    assert "OS_LINUX" in drawn(view, 110)
    assert "command" not in drawn(view, 129)
    assert "command" in drawn(view, 130)


@pytest.mark.parametrize(
    ("keys", "begin"),
    [
        ([Key.DOWN, Key.DOWN, Key.UP], 1),
        ([Key.UP], 0),
        ([Key.PAGE_DOWN], 10),
        ([Key.PAGE_DOWN, Key.PAGE_DOWN, Key.PAGE_UP], 10),
        ([Key.END], 90),
        ([Key.END, Key.DOWN], 90),
        ([Key.END, Key.HOME], 0),
    ],
)
def test_keys_move_over_the_rows_and_no_further(keys, begin):
    place = Place()
    place.move(keys, 100, 10)
    assert place.begin == begin
    place.move([], 5, 10)
    assert place.begin == 0


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"", []),
        (b"\x1b[6~\x1b[5~", [Key.PAGE_DOWN, Key.PAGE_UP]),
        (b"\x1b[A\x1bOB jG", [Key.UP, Key.DOWN, Key.PAGE_DOWN, Key.DOWN, Key.END]),
        (b"\x1b[15~x\x1b[1;5Cg", [Key.HOME]),
        (b"\x1b", []),
        (b"\x1b[", []),
    ],
)
def test_keys_are_read_as_terminals_send_them(data, keys):
    assert keys_in(data) == keys


@given(st.binary())
def test_no_bytes_make_the_keyboard_fail(data):
    keys_in(data)


def test_names_that_look_like_markup_are_shown_as_they_are(state, view):
    state.report(report(host("[bold]x[/]")))
    assert "[bold]x[/]" in drawn(view)


class Watched(io.StringIO):
    """Standard output that is no terminal, with a wait for what is written to it."""

    def __init__(self):
        super().__init__()
        self._written = threading.Condition()

    def write(self, text):
        with self._written:
            self._written.notify_all()
            return super().write(text)

    def wait_for(self, text):
        with self._written:
            assert self._written.wait_for(lambda: text in self.getvalue(), 10), self.getvalue()


@contextlib.contextmanager
def showing(state, changes=None, **options):
    """Run the view in a thread with standard output led to what this gives."""
    output = Watched()
    stop = StopRequest()
    thread = threading.Thread(target=show, args=(state, changes, stop), kwargs=options)
    with contextlib.redirect_stdout(output):
        thread.start()
        try:
            yield output
        finally:
            stop.set()
            thread.join(10)


def test_lines_are_written_until_the_view_is_stopped(state):
    state.report(report(host("before", 1)))
    changes = queue.SimpleQueue()
    with showing(state, changes) as output:
        output.wait_for("+ s/i/before pid=1\n")
        changes.put(withdrawn("before"))
        state.report(report(host("ünder", 2)))
    assert sorted(output.getvalue().splitlines()) == [
        "+ s/i/before pid=1",
        "+ s/i/ünder pid=2",
        "- s/i/before pid=1",
    ]


def test_the_threshold_is_the_callers(state):
    state.report(report(host()))
    with showing(state, gone_after=0.01) as output:
        output.wait_for("- s/i/p pid=1\n")
