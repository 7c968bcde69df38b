"""Where much comes in the kernel tells what has settled: nothing is missed, late or told twice."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from settling_model import SETTLE, Agent, Kernel, Rooms

from rover.clock import NANOSECONDS
from rover.discovery.loop import TOLD_SLACK
from rover.probes import layout
from rover.probes.layout import PendingKind
from rover.probes.settle_notice import Inflow, slices_to_settle

SLICE = (1 << layout.SLICE_SHIFT) / NANOSECONDS
LATEST = 0.3
"""Seconds from a start within which the agent has to take a process in any case."""
FOR_EVER = 1e6
LIFE = 0.05
"""Of short processes, in seconds."""
MOST_LOOKS = 10 / (SETTLE - LIFE + TOLD_SLACK) + 2
"""In 10 s, among short processes."""


class Host:
    """A kernel, an agent, and what runs; pids are used once."""

    def __init__(self, patches: pytest.MonkeyPatch, **options: object) -> None:
        self.kernel = Kernel(**options)
        self.agent = Agent(self.kernel, patches)
        self.lives: dict[int, tuple[float, float]] = {}
        """Seconds at which each begins and ends."""
        self._pids = count(1)

    def start(self, after: float, life: float = FOR_EVER) -> int:
        """Plan a process; return its pid."""
        pid = next(self._pids)
        began = self.kernel.now_ns / NANOSECONDS + after
        self.lives[pid] = began, began + life
        self.kernel.plan(after, lambda: self.kernel.enter(pid, PendingKind.FORK))
        if life < FOR_EVER:
            self.kernel.plan(after + life, lambda: self.kernel.leave(pid))
        return pid

    def churn(self, seconds: float, pause: float = 0.002, life: float = LIFE) -> None:
        """Plan short processes, one after each pause."""
        for number in range(int(seconds / pause)):
            self.start(number * pause, life)

    def delay(self, pid: int) -> float:
        """Seconds from its start until it was taken, the one time that it was."""
        (took,) = self.agent.took[pid]
        return took - self.lives[pid][0]

    def turns_in(self, seconds: float) -> int:
        """Let time pass and count the agent's turns in it."""
        before = len(self.agent.turns)
        self.agent.run(seconds)
        return len(self.agent.turns) - before


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(monkeypatch)


def test_among_short_processes_the_agent_looks_five_times_a_second(host: Host):
    host.churn(12)
    host.agent.run(2)
    assert host.turns_in(10) <= MOST_LOOKS
    assert not host.agent.took


def test_also_where_they_end_at_once(host: Host):
    host.churn(12, pause=0.001, life=0.0003)
    host.agent.run(2)
    assert host.turns_in(10) <= MOST_LOOKS


def test_what_lives_among_them_is_taken_within_two_slices_of_having_settled(host: Host):
    host.churn(12)
    lasting = [host.start(2 + number * 0.0971) for number in range(90)]
    host.agent.run(12)
    assert max(map(host.delay, lasting)) < SETTLE + 2 * SLICE + 0.005


def test_where_they_stop_at_once_what_came_in_last_is_taken_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
):
    delays = []
    for number in range(60):
        host = Host(monkeypatch)
        host.churn(3)
        lasting = host.start(3 - number * 0.005)
        host.agent.run(4)
        delays.append(host.delay(lasting))
    assert max(delays) < SETTLE + TOLD_SLACK + 0.005


def test_a_chain_of_execs_settles_with_its_first(host: Host):
    host.churn(5)
    chain = host.start(3)
    for number in (1, 2, 3):
        host.kernel.plan(3 + number * 0.03, lambda: host.kernel.enter(chain, PendingKind.EXEC))
    host.agent.run(5)
    assert host.delay(chain) < SETTLE + 2 * SLICE + 0.005


def test_where_little_comes_in_the_agent_looks_by_itself(host: Host):
    for number in range(40):
        host.start(number * 0.25, 0.05)
    lasting = [host.start(5 + number * 0.31) for number in range(10)]
    host.agent.run(12)
    assert max(map(host.delay, lasting)) < SETTLE + 0.05
    assert not host.agent.is_told


def test_bursts_are_not_taken_for_an_even_inflow(host: Host):
    for number in range(40):
        for _ in range(50):
            host.start(number * 0.25, 0.05)
    for _ in range(50):
        host.agent.run(0.2)
        assert not host.agent.is_told


def test_with_a_ring_that_is_full_the_agent_finds_by_itself_what_it_is_not_told(
    monkeypatch: pytest.MonkeyPatch,
):
    host = Host(monkeypatch)
    host.churn(6)
    host.agent.run(3)
    host.kernel.rooms = Rooms(ring=0)
    lasting = host.start(0.01)
    host.agent.run(0.5)
    assert host.delay(lasting) < LATEST
    host.kernel.rooms = Rooms()
    later = host.start(0.01)
    host.agent.run(0.5)
    assert host.delay(later) < LATEST


def test_a_count_that_is_wrong_calls_once(host: Host):
    host.churn(20)
    host.agent.run(3)
    for place in range(layout.SLICES):
        host.kernel.maps["unsettled"][place] = host.kernel.word("unsettled", place) + 1
    host.agent.run(3)
    assert host.turns_in(10) <= MOST_LOOKS


@pytest.mark.parametrize(
    "rooms", [Rooms(), Rooms(pending=4), Rooms(pending=1_024, overflow=16_384)]
)
def test_what_is_counted_by_slice_is_what_is_in_the_maps(
    monkeypatch: pytest.MonkeyPatch, rooms: Rooms
):
    host = Host(monkeypatch, rooms=rooms)
    host.churn(4)
    for number in range(300):
        host.start(1 + number * 0.007)
    host.agent.run(5)
    assert host.kernel.miscounted() == {}


def test_a_settle_time_beyond_the_ring_is_left_to_the_agent():
    assert slices_to_settle(int(SETTLE * NANOSECONDS)) == 13
    assert slices_to_settle(NANOSECONDS) == 0


@st.composite
def stretches(draw: st.DrawFn) -> Iterator[tuple[float, float, float, list[float]]]:
    """A time, the pause between short processes in it and their life, and when others start."""
    seconds = draw(st.sampled_from([0.05, 0.3, 1.5, 3.0]))
    pause = draw(st.sampled_from([0.0007, 0.002, 0.009, 0.03, 0.3]))
    life = draw(st.sampled_from([0.0005, 0.02, 0.09, 0.099]))
    lasting = draw(st.lists(st.floats(0, seconds), max_size=4))
    return seconds, pause, life, lasting


@given(
    stretches=st.lists(stretches(), min_size=1, max_size=4),
    call_ns=st.sampled_from([1_000, 50_000, 1_000_000]),
    pending=st.sampled_from([2, 16, layout.PENDING_ENTRIES]),
    lives=st.lists(st.sampled_from([0.101, 0.12, 0.2, 0.5, FOR_EVER]), min_size=1, max_size=5),
)
def test_whatever_comes_in_each_that_lives_is_taken_once_and_in_time(
    stretches: list[tuple[float, float, float, list[float]]],
    call_ns: int,
    pending: int,
    lives: list[float],
):
    with pytest.MonkeyPatch.context() as patches:
        host = Host(patches, rooms=Rooms(pending=pending), call_ns=call_ns)
        for seconds, pause, life, lasting in stretches:
            host.churn(seconds, pause, life)
            for number, after in enumerate(lasting):
                host.start(after, lives[number % len(lives)])
            host.agent.run(seconds)
        host.agent.run(1)
        for pid, (began, ended) in host.lives.items():
            if ended - began < SETTLE:
                # of an end in `overflow` that falls into a look nothing tells but /proc
                assert pid not in host.agent.took or pending < layout.PENDING_ENTRIES
            elif ended - began > LATEST or pid in host.agent.took:
                assert host.delay(pid) < LATEST
        assert host.kernel.miscounted() == {}
        assert not host.agent.is_told


def test_an_inflow_is_even_after_a_second_of_it():
    inflow = Inflow()
    for slices in range(0, 200, 10):
        now_ns = slices << layout.SLICE_SHIFT
        inflow.note(slices, now_ns)
        assert inflow.is_even(now_ns) == (now_ns >= NANOSECONDS + (10 << layout.SLICE_SHIFT))
    inflow.note(195, 300 << layout.SLICE_SHIFT)
    assert not inflow.is_even(300 << layout.SLICE_SHIFT)


def test_looks_that_follow_each_other_closely_are_judged_together():
    inflow = Inflow()
    for slices in range(400):  # a pause of one slice at each look proves nothing
        inflow.note(slices - slices % 3, slices << layout.SLICE_SHIFT)
    assert inflow.is_even(400 << layout.SLICE_SHIFT)
