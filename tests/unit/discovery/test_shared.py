"""What processes share is one object, and bounded; claims of `rover.discovery.shared`."""

from __future__ import annotations

import sys

from hypothesis import given
from hypothesis import strategies as st

from rover.discovery.shared import MOST, ROOM, Shared
from rover.model import Place


def built(text: str) -> str:
    """An object of its own that is equal."""
    return "".join([*text, ""])


def test_what_is_equal_is_one_object():
    shared = Shared()
    first, place = built("/usr/bin/node"), Place(1, 2, 3, "/srv")
    for same in (first, built("/usr/bin/node")):
        assert shared.text(same) is first
    assert shared.number(int("4026531840")) is shared.number(int("4026531840"))
    assert shared.place(place) is shared.place(Place(1, 2, 3, built("/srv"))) is place


@given(st.lists(st.text(max_size=3)))
def test_what_comes_out_is_equal_to_what_went_in(texts):
    shared = Shared()
    assert [shared.text(text) for text in texts] == texts


def test_none_of_it_grows_without_bound():
    shared = Shared()
    for number in range(3 * MOST):
        shared.text(f"name {number}")
        shared.number(2**40 + number)
        shared.place(Place(number, 2, 3, ""))
    assert max(map(len, (shared._texts, shared._numbers, shared._places))) <= MOST
    long = "x" * (ROOM // 8)
    for number in range(100):
        shared.text(f"{number}{long}")
        assert sum(map(sys.getsizeof, shared._texts)) <= ROOM + 2 * len(long)
