"""When known processes are looked at again, in how many wake-ups, and what becomes of the old."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rover.discovery.revisits import AGES, CATCH_UP, GRID, MOST, Revisits
from rover.model import Process, ProcessKey

PERIOD = 30.0


def process(key: ProcessKey) -> Process:
    return Process(key, 1, "run", "/run", "run", "/", 0, "0::/", 1, 1, key.pid, 1)


class Host:
    """Processes with their run times, and a clock that jumps to the next look."""

    def __init__(self) -> None:
        self.ran: dict[int, int] = {}
        self.now = 1_000.0
        self.revisits = Revisits(PERIOD, self.known, self.ran.get)
        self.wake_ups: list[float] = []

    def known(self, key: ProcessKey) -> Process | None:
        return process(key) if key.pid in self.ran else None

    def start(self, pid: int, age: float = 0.0) -> ProcessKey:
        key = ProcessKey(pid, 1)
        self.ran[pid] = 1
        self.revisits.add(key, 1, age, self.now)
        return key

    def end(self, pid: int) -> None:
        del self.ran[pid]
        self.revisits.forget(ProcessKey(pid, 1))

    def wake(self, until: float) -> list[tuple[float, int, bool]]:
        """Sleep and look until a time; return who was looked at, when, and whether it had run."""
        looks = []
        while (at := self.revisits.next_look()) is not None and at <= until:
            assert at > self.now or not looks, "it spins"
            self.now = max(at, self.now)
            self.wake_ups.append(self.now)
            looks += [(self.now, p.pid, has_run) for p, has_run in self.revisits.take(self.now)]
        self.now = until
        return looks


def test_a_young_process_is_looked_at_at_growing_ages_and_then_once_a_period():
    host = Host()
    host.now = 1_000.1
    host.start(1)
    looks = [at - 1_000.1 for at, _, _ in host.wake(1_100)]
    for age, at in zip(AGES, looks, strict=False):
        assert age <= at <= age + GRID
    later = looks[len(AGES) :]
    assert all(
        late - early <= PERIOD * 1.11
        for early, late in zip(looks[len(AGES) - 1 :], later, strict=False)
    )
    assert len(later) == 3


def test_many_young_ones_share_their_wake_ups():
    host = Host()
    for pid in range(60):
        host.start(pid)
        host.now += 1 / 60
    host.wake(host.now + 9)
    assert len(host.wake_ups) <= 2 * (9 + 1)


def test_more_starts_than_can_be_looked_at_are_looked_at_later_and_less_often():
    host = Host()
    for pid in range(16_384):
        host.start(pid)
    looks = host.wake(host.now + 60)
    assert {pid for _, pid, _ in looks} == set(range(16_384))
    for second in range(1_000, 1_060):
        made = sum(second <= at < second + 1 for at, _, _ in looks)
        assert made <= (1 / CATCH_UP + 1) * MOST + 16_384 / PERIOD * 1.1


def test_the_old_are_spread_evenly_over_a_period():
    host = Host()
    for pid in range(2_000):
        host.start(pid, age=100)
    began = host.now
    looks = host.wake(began + PERIOD + 0.01)
    assert {pid for _, pid, _ in looks} == set(range(2_000))
    assert len(looks) <= 2_000 + MOST
    assert len(host.wake_ups) <= 17
    for wake_up in host.wake_ups:
        assert sum(at == wake_up for at, _, _ in looks) <= MOST


def test_few_old_ones_cost_few_wake_ups():
    host = Host()
    for pid in range(3):
        host.start(pid, age=100)
    host.wake(host.now + PERIOD)
    assert len(host.wake_ups) <= 3


def test_whether_a_process_has_run_is_told_by_its_run_time_alone():
    host = Host()
    host.start(1, age=100)
    assert [has_run for _, _, has_run in host.wake(host.now + PERIOD)] == [False]
    host.ran[1] += 1
    assert [has_run for _, _, has_run in host.wake(host.now + PERIOD)] == [True]
    assert [has_run for _, _, has_run in host.wake(host.now + PERIOD)] == [False]


def test_where_the_run_time_cannot_be_had_a_process_counts_as_having_run():
    revisits = Revisits(PERIOD, process, lambda _: None)
    revisits.add(ProcessKey(1, 1), None, 100, 0.0)
    assert [has_run for _, has_run in revisits.take(PERIOD)] == [True]


def test_an_exec_makes_an_old_process_young_and_it_is_listed_once():
    host = Host()
    key = host.start(1, age=100)
    for _ in range(20):
        host.revisits.renew(key, 1, host.now)
        assert len(host.wake(host.now + 8.5)) >= len(AGES)
    assert len(host.wake(host.now + 10 * PERIOD)) <= 11  # not twenty times as often


def test_nothing_is_due_once_all_have_ended():
    host = Host()
    for pid in range(100):
        host.start(pid, age=pid / 10)
    host.wake(host.now + 3)
    for pid in range(100):
        host.end(pid)
    assert host.wake(host.now + 2 * PERIOD) == []
    assert host.revisits.next_look() is None
    assert host.revisits.young == 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["start", "old", "end", "exec", "run"]),
            st.integers(0, 9),
            st.sampled_from([0.0, 0.2, 1.0, 5.0, 31.0]),
        ),
        max_size=40,
    )
)
def test_whatever_comes_and_goes_each_is_looked_at_within_a_period_and_no_run_is_missed(doings):
    host = Host()
    seen: dict[int, int] = {}
    """Run time of each process, as a look has seen it."""
    for what, pid, pause in doings:
        alive = pid in host.ran
        if what in ("start", "old") and not alive:
            host.start(pid, age=100.0 * (what == "old"))
            seen[pid] = 1
        elif what == "end" and alive:
            host.end(pid)
        elif what == "exec" and alive:
            host.ran[pid] += 1
            seen[pid] = host.ran[pid]
            host.revisits.renew(ProcessKey(pid, 1), host.ran[pid], host.now)
        elif what == "run" and alive:
            host.ran[pid] += 1
        for _, each, has_run in host.wake(host.now + pause):
            if has_run:
                seen[each] = host.ran[each]
    looks = host.wake(host.now + PERIOD * 1.2)
    for _, each, has_run in looks:
        if has_run:
            seen[each] = host.ran[each]
    assert {pid for _, pid, _ in looks} == set(host.ran)
    assert {pid: seen[pid] for pid in host.ran} == host.ran
