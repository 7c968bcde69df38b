"""A process whose first thread has ended is looked at a few times; claims of `doubts`."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from rover.discovery.doubts import PAUSES_S, Doubts


class Followed:
    """Programs that take note of whose threads they are to follow."""

    def __init__(self, *, last_known: bool) -> None:
        self.loaded = SimpleNamespace(last_known=last_known)
        self.threads_of: list[int] = []

    def follow_threads(self, pid: int) -> None:
        self.threads_of.append(pid)


def test_it_is_looked_at_once_after_each_pause_and_then_no_more():
    probes = Followed(last_known=False)
    doubts = Doubts(probes)
    doubts.note(7, now=100.0)
    assert probes.threads_of == [7]
    now = 100.0
    for pause in PAUSES_S:
        assert 7 in doubts
        assert doubts.next_look() == pytest.approx(now + pause)
        assert doubts.due(now + pause / 2) == []
        now += pause
        assert doubts.due(now + 1e-6) == [7]
        now += 1e-6
    assert 7 not in doubts
    assert doubts.next_look() is None


def test_each_has_pauses_of_its_own_and_may_be_dropped():
    doubts = Doubts(None)
    doubts.note(7, now=100.0)
    doubts.note(8, now=100.1)
    assert doubts.due(100.1) == [7]
    doubts.drop(7)
    doubts.drop(9)
    assert doubts.due(200.0) == [8]


def test_where_an_exit_says_that_it_is_the_last_there_is_no_doubt():
    probes = Followed(last_known=True)
    doubts = Doubts(probes)
    doubts.note(7, now=100.0)
    assert doubts.next_look() is None
    assert probes.threads_of == []
