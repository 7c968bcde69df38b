"""Whose executables are read, once some have held the child up that reads them."""

from __future__ import annotations

import pytest

from rover.binaries.reader import ChildLost
from rover.model import Process, ProcessKey
from rover.profiling import support
from rover.profiling.support import MAX_FAILURES, Supports


class Held:
    """A child that is held up by what lies below /held."""

    def __init__(self, by: set[int]) -> None:
        self.by = by
        self.asked: list[int] = []

    def supports(self, pid: int) -> tuple[bool, str]:
        self.asked.append(pid)
        if pid in self.by:
            raise ChildLost("it was held up")
        return False, "it is stripped"

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
    assert [supports.supports_profiling(of(pid, 1000)) for pid in (1, 2, 3)] == [True] * 3
    assert child.asked == [1]
    assert not supports.supports_profiling(of(4, 1001))
    supports.close()


@pytest.mark.usefixtures("clock")
def test_of_root_each_mount_namespace_stands_for_itself():
    child = Held({1})
    supports = Supports(child)
    assert supports.supports_profiling(of(1, 0, namespace=5))
    assert supports.supports_profiling(of(2, 0, namespace=5))
    assert not supports.supports_profiling(of(3, 0, namespace=6))
    assert child.asked == [1, 3]
    supports.close()


def test_after_many_users_nobody_is_asked_for_a_while(clock):
    child = Held(set(range(MAX_FAILURES)))
    supports = Supports(child)
    for pid in range(MAX_FAILURES):
        supports.supports_profiling(of(pid, 1000 + pid))
    assert supports.supports_profiling(of(99, 99))
    assert 99 not in child.asked
    clock[0] += support.KEPT_S
    assert not supports.supports_profiling(of(99, 99))
    supports.close()
