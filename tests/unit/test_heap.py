"""Memory is given back after a flood, and only then."""

from __future__ import annotations

import pytest

from rover import heap


@pytest.fixture
def given_back(monkeypatch):
    times = []
    monkeypatch.setattr(heap, "give_back", lambda: times.append(1))
    return times


@pytest.mark.parametrize(
    ("processes", "times"),
    [
        ([100, 16_000, 16_100, 120], 1),
        ([100, 16_000, 120, 130, 120], 1),
        ([100, 16_000, 120, 16_000, 120], 2),
        ([900, 0], 0),
        ([2_000, 1_500, 1_100], 0),
        ([2_000, 1_500, 1_000], 1),
        ([16_000, 9_000, 16_000], 0),
        ([100] * 9, 0),
        ([100] * 20, 2),
    ],
)
def test_memory_is_given_back_when_most_of_many_processes_have_gone(processes, times, given_back):
    tide = heap.PeakRelease()
    for amount in processes:
        tide.note(amount)
    assert len(given_back) == times


def test_giving_back_works_on_this_system():
    heap.give_back()
