"""What is kept of the figures, and how it is drawn."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Metric

from rover.status.charts import HEIGHT, WIDTH, chart, number
from rover.status.history import COURSES, MOST, TAKEN, Course, History, Look, Over, look, points

Eventually = Callable[..., object]
BY_TITLE = {course.title: course for course in COURSES}


def looks(of: dict[str, list[float | None]], every: float = 30.0) -> list[Look]:
    """Make looks of what is named, the last one now at 0."""
    length = max(map(len, of.values()))
    return [
        (
            (at - length + 1) * every,
            tuple(of.get(taken.name, [0.0] * length)[at] for taken in TAKEN),
        )
        for at in range(length)
    ]


def course(title: str, of: dict[str, list[float | None]]) -> list[tuple[float, float]]:
    return list(points(BY_TITLE[title], looks(of), 0.0))


def test_samples_of_other_labels_do_not_count():
    registry = CollectorRegistry()
    processes = Gauge("rover_processes", "", ["reason"], registry=registry)
    processes.labels("reported").set(7)
    processes.labels("ignored").set(100)
    calls = Counter("rover_reports", "", ["call", "result"], registry=registry)
    calls.labels("beat", "ok").inc(50)
    calls.labels("beat", "unavailable").inc(2)
    calls.labels("report", "denied").inc()
    _, values = look(registry.collect(), 0.0)
    taken = dict(zip([each.name for each in TAKEN], values, strict=True))
    assert taken["rover_processes"] == 7
    assert taken["rover_reports_total"] == 3
    assert taken["rover_entities"] is None, "not exported here"


def test_a_level_is_shown_as_it_was():
    assert course("Entities", {"rover_entities": [1.0, 3.0]}) == [(-30.0, 1.0), (0.0, 3.0)]


def test_of_a_count_its_growth_is_shown():
    assert course("Events lost", {"rover_lost_total": [5.0, 5.0, 20.0]}) == [
        (-30.0, 0.0),
        (0.0, 30.0),
    ]


def test_a_beat_is_shown_where_there_was_one():
    of = {
        "rover_heartbeat_seconds_sum": [0.0, 0.2, 0.2, 0.5],
        "rover_heartbeat_seconds_count": [0.0, 2.0, 2.0, 3.0],
    }
    assert course("A beat takes", of) == [(-60.0, 100.0), (0.0, pytest.approx(300.0))]


def test_what_was_not_to_be_had_leaves_a_gap():
    assert course("Entities", {"rover_entities": [1.0, None, 3.0]}) == [(-60.0, 1.0), (0.0, 3.0)]
    assert course("Events lost", {"rover_lost_total": [1.0, None, 3.0]}) == []


def test_it_keeps_an_hour_and_no_more(eventually: Eventually):
    registry = CollectorRegistry()
    Gauge("rover_entities", "", registry=registry).set(1)
    history = History(registry.collect, period=0.0001)
    history.start()
    eventually(lambda: len(history._looks) == MOST)
    history.stop()
    assert len(history._looks) == MOST == 121
    assert not [each for each in threading.enumerate() if each.name == "status-history"]


def test_a_figure_that_fails_ends_no_chart(
    caplog: pytest.LogCaptureFixture, eventually: Eventually
):
    asked: list[int] = []

    def collect() -> list[Metric]:
        asked.append(1)
        if len(asked) < 4:
            raise ZeroDivisionError
        return []

    history = History(collect, period=0.0001)
    history.start()
    eventually(lambda: history._looks)
    history.stop()
    assert caplog.text.count("defect in the history of figures") == 1


def test_a_look_that_hangs_does_not_keep_the_agent_from_its_end():
    hangs = threading.Event()
    history = History(lambda: [Metric(str(hangs.wait(30)), "", "gauge")])
    history.start()
    began = time.monotonic()
    history.stop()
    assert time.monotonic() - began < 5
    hangs.set()


def test_the_figures_of_this_moment_are_shown_beside():
    registry = CollectorRegistry()
    Gauge("rover_entities", "", registry=registry).set(4)
    shown = dict(History(registry.collect).courses())
    assert [value for _, value in shown[BY_TITLE["Entities"]]] == [4.0]


LEVEL = Course("a <b>", "%", TAKEN[0], Over.NOTHING)
PLACE = re.compile(r"(-?[\d.]+),(-?[\d.]+)")


@given(
    st.lists(
        st.tuples(st.floats(-4_000, 0), st.floats(0, 1e15, allow_nan=False, allow_subnormal=False)),
        max_size=20,
    )
)
def test_every_line_lies_within_its_picture(drawn: list[tuple[float, float]]):
    text = chart(LEVEL, tuple(sorted(drawn)))
    for x, y in PLACE.findall(" ".join(re.findall(r'points="([^"]*)"', text))):
        assert 0 <= float(x) <= WIDTH
        assert 0 <= float(y) <= HEIGHT
        assert math.isfinite(float(x) + float(y))
    assert "<b>" not in text.split("<figcaption>")[1].split(" <b>")[0], "the title is escaped"


def test_a_line_ends_where_values_are_missing():
    text = chart(LEVEL, ((-600.0, 1.0), (-570.0, 2.0), (-60.0, 1.0), (-30.0, 1.0)))
    assert text.count("<polyline") == 2


def test_a_picture_says_in_words_what_it_shows():
    text = chart(LEVEL, ((-30.0, 12_345.0), (0.0, 7.0)))
    assert 'aria-label="a &lt;b&gt;: 7 % now, at most 12\u202f345 in the last hour"' in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.1234, "0.123"), (999, "999"), (1_234_567.8, "1\u202f234\u202f568")],
)
def test_numbers_are_short(value: float, text: str):
    assert number(value) == text
