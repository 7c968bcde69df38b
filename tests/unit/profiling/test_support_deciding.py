"""Whose executables are read, once some have held the child up that reads them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rover.binaries.reader import Supported
from rover.foreign.blame import Blame, own_mount_namespace
from rover.model import Process, ProcessKey
from rover.profiling import support
from rover.profiling.support import ALL_S, MAX_FAILURES, Supports


class Held:
    """A child that is held up by what lies below /held."""

    def __init__(self, by: set[int]) -> None:
        self.by = by
        self.gone: set[int] = set()
        self.asked: list[int] = []

    def supports(self, whom: list[Blame], within: float) -> Supported:
        assert 0 < within <= ALL_S
        told: list[bool | None] = []
        for blame in whom:
            self.asked.append(blame.pid)
            if blame.pid in self.by:
                return Supported(told, held_up=True)
            told.append(None if blame.pid in self.gone else False)
        return Supported(told, held_up=False)

    def close(self) -> None:
        pass


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1_000.0]
    monkeypatch.setattr(support.time, "monotonic", lambda: now[0])
    return now


def of(pid: int, uid: int, namespace: int = 1) -> Process:
    key = ProcessKey(pid, 1)
    return Process(key, 1, "run", f"/{pid}", b"run", "/", uid, "0::/", 1, namespace, pid, 1)


@pytest.mark.usefixtures("clock")
def test_one_user_holds_the_child_up_once_and_others_are_read():
    child = Held({1, 2, 3})
    supports = Supports(child)
    assert supports.supports_profiling([of(pid, 1000) for pid in (1, 2, 3)]) == [True] * 3
    assert child.asked == [1]
    assert not supports.supports_profiling([of(4, 1001)])[0]
    supports.close()


@pytest.mark.usefixtures("clock")
def test_of_root_each_mount_namespace_stands_for_itself():
    child = Held({1})
    supports = Supports(child)
    assert supports.supports_profiling([of(1, 0, namespace=5)])[0]
    assert supports.supports_profiling([of(2, 0, namespace=5)])[0]
    assert not supports.supports_profiling([of(3, 0, namespace=6)])[0]
    assert child.asked == [1, 3]
    supports.close()


def test_after_many_users_nobody_is_asked_for_a_while(clock):
    child = Held(set(range(MAX_FAILURES)))
    supports = Supports(child)
    for pid in range(MAX_FAILURES):
        supports.supports_profiling([of(pid, 1000 + pid)])
    assert supports.supports_profiling([of(99, 99)])[0]
    assert 99 not in child.asked
    clock[0] += support.KEPT_S
    assert not supports.supports_profiling([of(99, 99)])[0]
    supports.close()


@pytest.mark.usefixtures("clock")
def test_of_many_at_once_each_has_its_own_answer_and_one_file_is_read_once():
    child = Held({3, 70})
    supports = Supports(child)
    processes = [of(pid, 1000 + pid) for pid in range(1, 101)]
    again = [replace(each, key=ProcessKey(500 + each.pid, 1)) for each in processes]
    told = supports.supports_profiling([*processes, *again])
    assert [pid for pid, yes in enumerate(told[:100], 1) if yes] == [3, 70]
    assert told[100:] == told[:100]
    assert child.asked == [*range(1, 101)]
    assert supports.supports_profiling(again[:2]) == [False, False]
    assert len(child.asked) == 100
    supports.close()


@pytest.mark.usefixtures("clock")
def test_where_one_process_cannot_tell_another_that_has_the_same_file_is_asked():
    child = Held({3})
    child.gone = {1}
    supports = Supports(child)
    same = [replace(of(pid, 1000 + pid), exe="/same") for pid in (1, 2)]
    assert supports.supports_profiling(same) == [False, False]
    assert child.asked == [1, 2]
    # of one file the first belongs to a user who has held the child up
    assert supports.supports_profiling([of(3, 1003)]) == [True]
    other = [replace(of(4, 1003), exe="/other"), replace(of(5, 1005), exe="/other")]
    assert supports.supports_profiling(other) == [False, False]
    assert child.asked == [1, 2, 3, 5]
    supports.close()


def test_those_for_which_no_time_is_left_are_told_to_be_and_asked_again(clock):
    child = Held(set())
    supports = Supports(child)
    ask = child.supports

    def slow(whom: list[Blame], within: float) -> Supported:
        clock[0] += ALL_S / 2
        return ask(whom, within)

    child.supports = slow
    processes = [of(pid, 1000) for pid in range(1, 201)]
    told = supports.supports_profiling(processes)
    assert told == [False] * 128 + [True] * 72
    assert supports.supports_profiling(processes[128:]) == [False] * 72
    supports.close()


@pytest.mark.usefixtures("clock")
def test_the_hosts_root_is_one_user_whatever_its_process():
    child = Held({1, 2})
    supports = Supports(child)
    own = own_mount_namespace()
    assert supports.supports_profiling([of(1, 0, own), of(2, 0, own), of(3, 7)]) == [
        True, True, False,
    ]  # fmt: skip
    assert child.asked == [1, 3]
    supports.close()
