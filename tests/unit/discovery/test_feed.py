"""What listeners get of what happens, in order, bounded, and nothing while nobody listens."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "naming"))

from pod_rig import process

from rover.discovery.feed import AT_ONCE, LISTENING, Feed, Kind
from rover.model import Changes, Container, Entity, EntityKey, Report, Verdict

ONE = process(42, command_line="sleep 60", redacted=b"sleep ***")
ENTITY = Entity("K8S_SERVICE", "web.default", "web-1", "sleep")
IN_POD = Report(ENTITY, ONE, Container("ab" * 32, "app", "web-1", "default", "", ""))
NAMED = Verdict((IN_POD,))


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_nobody_is_heard_before_somebody_asks(clock: Clock):
    feed = Feed(clock=clock)
    assert not feed.is_heard
    heard = feed.hear(None)
    assert feed.is_heard
    assert (heard.events, heard.lost) == ((), 0)


def test_what_happens_after_the_question_is_told_in_its_order(clock: Clock):
    feed = Feed(clock=clock)
    after = feed.hear(None).after
    feed.tell(Kind.EXEC, ONE, NAMED)
    feed.changed(Changes((IN_POD,)))
    feed.changed(Changes((IN_POD,), (), frozenset({ENTITY.key})))
    feed.tell(Kind.EXIT, ONE, NAMED)
    feed.changed(Changes((), (ENTITY.key,)))
    heard = feed.hear(after)
    assert [event.kind for event in heard.events] == [
        "exec", "appeared", "re-reported", "exit", "withdrawn",
    ]  # fmt: skip
    assert feed.hear(heard.after).events == ()


def test_an_event_has_the_process_masked_and_its_service_container_and_pod(clock: Clock):
    feed = Feed(clock=clock)
    after = feed.hear(None).after
    feed.tell(Kind.EXEC, ONE, NAMED)
    (event,) = feed.hear(after).events
    assert (event.pid, event.uid, event.command_line) == (42, 0, "sleep ***")
    assert (event.service, event.process) == ("web.default", "sleep")
    assert (event.container, event.namespace, event.pod) == ("app", "default", "web-1")


def test_of_a_process_that_is_not_reported_the_containers_id_is_told(clock: Clock):
    feed = Feed(clock=clock)
    after = feed.hear(None).after
    stray = replace(ONE, cgroup=f"0::/system.slice/docker-{'cd' * 32}.scope\n")
    feed.tell(Kind.EXEC, stray, Verdict())
    (event,) = feed.hear(after).events
    assert (event.service, event.container) == ("", "cd" * 6)


@given(st.integers(0, 40), st.integers(1, 20))
def test_who_is_too_slow_is_told_how_much_it_missed(happened: int, kept: int):
    feed = Feed(kept, Clock())
    after = feed.hear(None).after
    for pid in range(happened):
        feed.tell(Kind.EXEC, replace(ONE, key=ONE.key._replace(pid=pid + 1)), NAMED)
    heard = feed.hear(after)
    assert heard.lost == max(0, happened - kept)
    assert [event.pid for event in heard.events] == list(range(heard.lost + 1, happened + 1))
    assert feed.hear(heard.after) == ((), heard.after, 0)


def test_a_large_number_comes_in_several_answers(clock: Clock):
    feed = Feed(clock=clock)
    after = feed.hear(None).after
    for _ in range(AT_ONCE + 5):
        feed.tell(Kind.EXEC, ONE, NAMED)
    first = feed.hear(after)
    assert len(first.events) == AT_ONCE
    assert len(feed.hear(first.after).events) == 5


def test_two_listeners_get_the_same(clock: Clock):
    feed = Feed(clock=clock)
    one, other = feed.hear(None).after, feed.hear(None).after
    feed.tell(Kind.EXEC, ONE, NAMED)
    assert feed.hear(one).events == feed.hear(other).events


def test_when_nobody_asks_any_more_nothing_is_kept(clock: Clock):
    feed = Feed(clock=clock)
    after = feed.hear(None).after
    feed.tell(Kind.EXEC, ONE, NAMED)
    clock.now += LISTENING + 1
    feed.tell(Kind.EXEC, ONE, NAMED)
    assert not feed.is_heard
    heard = feed.hear(after)
    assert heard.events == ()
    assert heard.lost >= 1


def test_a_listener_of_an_earlier_run_begins_anew(clock: Clock):
    heard = Feed(clock=clock).hear(900)
    assert heard == ((), 0, 0)


def test_what_is_withdrawn_has_the_names_alone(clock: Clock):
    feed = Feed(clock=clock)
    after = feed.hear(None).after
    feed.changed(Changes((), (EntityKey("L", "s", "i", "p"),)))
    (event,) = feed.hear(after).events
    assert (event.pid, event.layer, event.service, event.process) == (0, "L", "s", "p")
