"""Who keeps a place and who loses it."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from rover.status.places import Places


@dataclass(eq=False)
class Guest:
    peer: str
    leaves_at: float = 0.0


def test_the_oldest_of_all_makes_room_where_all_is_full():
    places = Places(total=2, a_peer=2)
    first, second, third = Guest("a"), Guest("b"), Guest("c")
    assert places.enter(first) is None
    assert places.enter(second) is None
    assert places.enter(third) is first
    assert places.oldest() is second


def test_a_peer_that_has_its_share_pushes_out_its_own_alone():
    places = Places(total=10, a_peer=2)
    probe, first, second, third = Guest("node"), Guest("a"), Guest("a"), Guest("a")
    for guest in (probe, first, second):
        assert places.enter(guest) is None
    assert places.enter(third) is first
    assert probe in places


def test_a_place_that_was_given_back_is_free():
    places = Places(total=1, a_peer=1)
    gone = Guest("a")
    places.enter(gone)
    places.leave(gone)
    places.leave(gone)
    assert len(places) == 0
    assert places.enter(Guest("a")) is None


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans())))
def test_no_bound_is_passed_and_a_newcomer_is_always_in(steps):
    places = Places(total=5, a_peer=2)
    inside = []
    for peer, leaves in steps:
        if leaves and inside:
            places.leave(inside.pop(0))
            continue
        guest = Guest(peer)
        out = places.enter(guest)
        inside = [each for each in inside if each is not out] + [guest]
        assert guest in places
        assert len(places) == len(inside) <= 5
        assert all(sum(each.peer == peer for each in inside) <= 2 for peer in "abcd")
        assert places.oldest() is inside[0]
