"""Batches keep within limits; bad items are found alone and the others go through."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from math import ceil, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.reporter.batches import LEAST_BYTES, TRIES_ALONE, Limits, batches, deliver
from rover.reporter.failures import CallError, FailureKind

SMALL = Limits(items=7, bytes=2000)


@given(st.lists(st.integers(0, 2500)))
def test_batches_hold_every_item_once_in_order(sizes):
    cut = list(batches(sizes, int, SMALL))
    assert [size for batch in cut for size in batch] == sizes


@given(st.lists(st.integers(0, 2500)))
def test_batches_keep_within_both_limits_unless_one_item_alone_exceeds_them(sizes):
    for batch in batches(sizes, int, SMALL):
        assert 1 <= len(batch) <= SMALL.items
        assert sum(batch) <= SMALL.bytes or len(batch) == 1


@given(st.lists(st.integers(0, 2500)))
def test_no_batch_could_have_taken_the_next_item(sizes):
    cut = list(batches(sizes, int, SMALL))
    for batch, following in pairwise(cut):
        assert len(batch) == SMALL.items or sum(batch) + following[0] > SMALL.bytes


def test_limits_shrink_to_a_floor_and_grow_back_to_the_default():
    limits = Limits()
    for _ in range(40):
        limits = limits.halved()
    assert limits == Limits(1, LEAST_BYTES)
    for _ in range(40):
        limits = limits.doubled()
    assert limits == Limits()


class Server:
    """Rejects a message with a bad item in it, as the server does with a layer it does not know."""

    def __init__(self, bad, kind=FailureKind.ITEM):
        self.bad = set(bad)
        self.kind = kind
        self.calls = 0
        self.stored = Counter()

    def send(self, items):
        self.calls += 1
        if self.bad & set(items):
            raise CallError(self.kind, "no")
        self.stored.update(items)
        return len(items)


def fine():
    return None


def nobody(_item):
    return None


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))))
def test_just_the_bad_items_are_singled_out(case):
    count, bad = case
    server = Server(bad)
    parts = list(deliver(list(range(count)), server.send, fine, nobody))
    assert {item for part in parts if part.failure for item in part.items} == bad
    assert all(len(part.items) == 1 for part in parts if part.failure)
    assert server.stored == Counter(set(range(count)) - bad)


@given(st.integers(2, 1000), st.data())
def test_one_bad_item_costs_a_logarithm_of_calls(count, data):
    server = Server([data.draw(st.integers(0, count - 1))])
    list(deliver(list(range(count)), server.send, fine, nobody))
    assert server.calls <= 2 * ceil(log2(count)) + TRIES_ALONE


def test_a_message_that_is_too_large_is_halved_and_a_lone_one_not_tried_again():
    server = Server([3], FailureKind.TOO_LARGE)
    parts = list(deliver(list(range(4)), server.send, fine, nobody))
    assert [part.items for part in parts if part.failure] == [[3]]
    assert server.calls == 5


@pytest.mark.parametrize(
    "kind",
    [
        FailureKind.AWAY,
        FailureKind.TIMEOUT,
        FailureKind.BUSY,
        FailureKind.DENIED,
        FailureKind.WRONG_SERVER,
    ],
)
def test_trouble_that_is_no_items_fault_ends_the_delivery(kind):
    server = Server([0], kind)
    with pytest.raises(CallError) as raised:
        list(deliver([0, 1], server.send, fine, nobody))
    assert raised.value.kind is kind
    assert server.calls == 1


def test_a_server_that_fails_on_everything_is_found_out_before_any_halving():
    def answers_at_all():
        raise CallError(FailureKind.BROKEN, "down")

    server = Server(range(1000))
    with pytest.raises(CallError, match="down"):
        list(deliver(list(range(1000)), server.send, answers_at_all, nobody))
    assert server.calls == 1


def test_a_lone_item_is_not_bad_before_it_has_failed_several_times():
    failures = iter([True, True, False])

    def send(items):
        if next(failures):
            raise CallError(FailureKind.ITEM, "now and then")
        return items

    (part,) = deliver(["only"], send, fine, nobody)
    assert part.failure is None


def test_what_is_learnt_of_one_item_spares_the_others_like_it():
    bad = range(100, 200)
    server = Server(bad)
    known = {}
    refused = []
    for part in deliver(list(range(200)), server.send, fine, lambda item: known.get(item >= 100)):
        if part.failure:
            refused += part.items
            known[True] = part.failure
    assert sorted(refused) == list(bad)
    assert server.stored == Counter(range(100))
    assert server.calls < 30
