"""What changes too often waits, and its newest form is told in the end."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from rover.flapping import AT_ONCE, PAUSES, QUIET, Flapping


def passed(times: list[float]) -> list[float]:
    """Change one thing at these times; return when a change passed."""
    flapping: Flapping[str] = Flapping()
    return [at for at in times if flapping.passes("x", at)]


def test_a_daemon_that_settles_waits_for_nothing():
    assert len(passed([0.5, 1, 2, 4])) == AT_ONCE


def test_one_that_never_settles_waits_longer_and_longer():
    times = passed([float(at) for at in range(3600)])
    pauses = [later - at for at, later in itertools.pairwise(times)]
    assert pauses[:AT_ONCE] == [1, 1, 1, PAUSES[0]]
    assert pauses[AT_ONCE:] == [*PAUSES[1:], *[PAUSES[-1]] * (len(pauses) - AT_ONCE - 3)]


def test_after_a_quiet_time_it_begins_anew():
    times = [float(at) for at in range(100)]
    again = [at + 100 + QUIET for at in times]
    assert passed(times + again)[-5:] == [*again[:4], again[60] + 3]


def test_what_is_held_back_comes_due_once():
    flapping: Flapping[str] = Flapping()
    for at in range(AT_ONCE + 1):
        held = not flapping.passes("x", at)
    assert held
    assert "x" in flapping
    until = flapping.held_until("x")
    assert until == flapping.next_due() == AT_ONCE - 1 + PAUSES[0]
    assert flapping.due(until - 1) == []
    assert flapping.due(until) == ["x"]
    assert flapping.next_due() is None
    assert flapping.passes("x", until)


def test_what_is_as_it_was_waits_no_longer_and_what_is_gone_is_forgotten():
    flapping: Flapping[str] = Flapping()
    for at in range(AT_ONCE + 1):
        flapping.passes("x", at)
    flapping.drop("x")
    assert flapping.next_due() is None
    assert not flapping.passes("x", AT_ONCE + 1)
    flapping.forget("x")
    assert flapping.passes("x", AT_ONCE + 2)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 100)), max_size=200))
def test_no_thing_passes_more_often_than_its_pauses_allow(changes):
    flapping: Flapping[str] = Flapping()
    now, times = 0.0, {"a": [], "b": []}
    for name, pause in changes:
        now += pause
        for key in flapping.due(now):
            assert flapping.passes(key, now)
            times[key].append(now)
        if flapping.passes(name, now):
            times[name].append(now)
    for each in times.values():
        for number, at in enumerate(each):
            within = [other for other in each[number:] if other < at + PAUSES[0]]
            assert len(within) <= AT_ONCE + 1
