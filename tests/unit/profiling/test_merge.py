from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.profiling import merge
from rover.profiling.merge import (
    MOST_COUNT,
    Amount,
    Ledger,
    Source,
    Stack,
    stack_id,
    summed,
    with_ids,
)
from rover.profiling.records import Target

ONE = Source(1, Target.ON_CPU)
TWO = Source(2, Target.ON_CPU)
HOT = Stack((), ("hot", "main"))
COLD = Stack(("read",), ("cold", "main"))


def counts(source=ONE, **by_name):
    named = {"hot": HOT, "cold": COLD}
    return {source: {named[name]: Amount(count, 0) for name, count in by_name.items()}}


def sent(batch):
    return {item.stack: item.amount for item in batch.items}


@pytest.fixture
def ledger():
    ledger = Ledger()
    ledger.join(ONE, {})
    return ledger


def test_samples_with_equal_names_are_one_stack():
    read = summed([(ONE, HOT, Amount(1, 5)), (ONE, HOT, Amount(2, 6)), (TWO, HOT, Amount(4, 0))])
    assert read == {ONE: {HOT: Amount(3, 11)}, TWO: {HOT: Amount(4, 0)}}


def test_only_the_difference_to_the_last_reading_is_sent(ledger):
    ledger.read(counts(hot=5))
    assert sent(ledger.cut(1000)) == {HOT: Amount(5, 0)}
    ledger.accepted()
    ledger.read(counts(hot=7, cold=1))
    assert sent(ledger.cut(2000)) == {HOT: Amount(2, 0), COLD: Amount(1, 0)}


def test_what_did_not_change_is_not_sent(ledger):
    ledger.read(counts(hot=5))
    ledger.cut(1000)
    ledger.accepted()
    ledger.read(counts(hot=5))
    assert ledger.cut(2000) is None
    assert not ledger.has_more


def test_stacks_of_several_processes_are_merged_by_their_names(ledger):
    ledger.join(TWO, {})
    ledger.read({**counts(ONE, hot=5), **counts(TWO, hot=6)})
    assert sent(ledger.cut(1000)) == {HOT: Amount(11, 0)}


def test_a_process_sampled_already_for_another_task_counts_from_now_on():
    ledger = Ledger()
    ledger.join(ONE, {HOT: Amount(100, 0)})
    ledger.read(counts(hot=103))
    assert sent(ledger.cut(1000)) == {HOT: Amount(3, 0)}


def test_processes_of_other_tasks_do_not_count(ledger):
    ledger.read(counts(TWO, hot=5))
    assert ledger.cut(1000) is None


def test_what_was_read_of_a_process_that_has_left_is_still_sent(ledger):
    ledger.read(counts(hot=5))
    ledger.leave(ONE)
    assert sent(ledger.cut(1000)) == {HOT: Amount(5, 0)}


def test_a_process_that_comes_again_counts_from_zero(ledger):
    ledger.read(counts(hot=5))
    ledger.leave(ONE)
    ledger.join(ONE, {})
    ledger.read(counts(hot=2))
    assert sent(ledger.cut(1000)) == {HOT: Amount(7, 0)}


def test_a_batch_that_was_not_accepted_is_sent_again_as_it_was(ledger):
    ledger.read(counts(hot=5))
    batch = ledger.cut(1000)
    ledger.read(counts(hot=9))
    assert ledger.cut(2000) is batch
    ledger.accepted()
    assert sent(ledger.cut(3000)) == {HOT: Amount(4, 0)}


def test_what_was_accepted_is_added_up(ledger):
    for count in (5, 9):
        ledger.read(counts(hot=count))
        ledger.cut(count)
        ledger.accepted()
    assert ledger.taken == Amount(9, 0)


def test_no_two_batches_have_one_time(ledger):
    times = []
    for count in range(1, 4):
        ledger.read(counts(hot=count))
        times.append(ledger.cut(1000).at)
        ledger.accepted()
    assert times == [1000, 1001, 1002]


def test_counts_that_fell_are_not_sent_backwards(ledger):
    ledger.read({ONE: {HOT: Amount(5, 50)}})
    ledger.cut(1000)
    ledger.accepted()
    ledger.read({ONE: {HOT: Amount(2, 20)}})
    ledger.read({ONE: {HOT: Amount(3, 30)}})
    assert sent(ledger.cut(2000)) == {HOT: Amount(1, 10)}


def test_counts_beyond_32_bits_go_with_the_next_flushes(ledger):
    ledger.read(counts(hot=2 * MOST_COUNT + 5))
    for expected in (MOST_COUNT, MOST_COUNT, 5):
        assert sent(ledger.cut(1000)) == {HOT: Amount(expected, 0)}
        ledger.accepted()
    assert not ledger.has_more


def test_stacks_without_room_are_counted_as_lost(ledger, monkeypatch):
    monkeypatch.setattr(merge, "MOST_STACKS", 1)
    ledger.read(counts(hot=5, cold=3))
    ledger.read(counts(hot=6, cold=4))
    assert sent(ledger.cut(1000)) == {HOT: Amount(6, 0)}
    assert ledger.lost == 4


def test_a_stack_has_the_same_id_in_every_flush_and_the_sides_have_ids_of_their_own():
    (one,) = with_ids({COLD: Amount(1, 0)})
    (other,) = with_ids({COLD: Amount(9, 9)})
    assert (one.kernel_id, one.user_id) == (other.kernel_id, other.user_id)
    assert stack_id("k", ("read",)) != stack_id("u", ("read",))
    assert 0 <= one.user_id < 1 << 31


def test_two_stacks_of_one_id_are_told_apart(monkeypatch):
    monkeypatch.setattr(merge, "stack_id", lambda _side, names: (1 << 31) - 1 if names else 0)
    items = with_ids({Stack((), (name,)): Amount(1, 0) for name in "abc"})
    assert [item.user_id for item in items] == [(1 << 31) - 1, 0, 1]
    items = with_ids({Stack((name,), ()): Amount(1, 0) for name in "abc"})
    assert len({item.kernel_id for item in items}) == 3


def test_a_sample_without_any_frame_counts_as_unknown():
    (item,) = with_ids({Stack((), ()): Amount(3, 0)})
    assert item.stack == Stack((), ("[unknown]",))


STACKS = [Stack((), (name,)) for name in "abc"]
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("grow"), st.sampled_from([ONE, TWO]), st.sampled_from(STACKS)),
        st.sampled_from([("read",), ("cut",), ("accepted",), ("leave", TWO), ("join", TWO)]),
    ),
    max_size=60,
)


class Followed:
    """Two processes, what is counted of them and what a backend took."""

    def __init__(self):
        self.ledger = Ledger()
        self.now: dict[Source, dict[Stack, Amount]] = {}
        self.truth: Counter[Stack] = Counter()
        self.stored: Counter[Stack] = Counter()
        for source in (ONE, TWO):
            self.join(source)

    def join(self, source):
        if source not in self.now:
            self.now[source] = {}
            self.ledger.join(source, {})

    def leave(self, source):
        self.read()
        self.ledger.leave(source)
        self.now.pop(source, None)

    def grow(self, source, stack):
        if source in self.now:
            before = self.now[source].get(stack, Amount(0, 0))
            self.now[source][stack] = Amount(before.times + 1, 0)
            self.truth[stack] += 1

    def read(self):
        self.ledger.read(self.now)

    def cut(self):
        return self.ledger.cut(1)

    def accepted(self):
        if batch := self.ledger.batch:
            self.stored.update({item.stack: item.amount.times for item in batch.items})
            self.ledger.accepted()


@given(EVENTS)
def test_in_the_end_all_that_was_counted_while_followed_is_accepted(events):
    followed = Followed()
    for what, *args in events:
        getattr(followed, what)(*args)
    followed.read()
    while followed.cut():
        followed.accepted()
    assert followed.stored == followed.truth
