"""When the discovery thread looks at the kernel's maps again."""

from __future__ import annotations

import pytest

from rover.clock import NANOSECONDS
from rover.discovery.loop import LOOK_SLACK, TOLD_SLACK, until_look

MOST_AFTER_EXEC = 0.15
"""Seconds from an exec to the backend, for 99 of 100, of which the report takes a hundredth."""


def test_where_processes_live_each_is_looked_at_when_it_has_settled():
    assert until_look(int(0.04 * NANOSECONDS), found=True) == pytest.approx(0.04)


def test_where_all_end_early_looks_are_fewer():
    assert until_look(int(0.04 * NANOSECONDS), found=False) == pytest.approx(0.04 + LOOK_SLACK)


def test_what_is_due_already_is_looked_at_at_once():
    assert until_look(-NANOSECONDS, found=True) == 0.0


def test_while_the_kernel_tells_what_settles_the_agent_looks_all_the_same_but_later():
    until_due_ns = int(0.04 * NANOSECONDS)
    for found in (True, False):
        assert until_look(until_due_ns, found=found, is_told=True) == pytest.approx(
            0.04 + TOLD_SLACK
        )


def test_a_process_among_short_ones_is_still_told_in_time():
    settle_time = 0.1
    assert settle_time + LOOK_SLACK < MOST_AFTER_EXEC - 0.01
