"""Who holds a read up is told from a machine that is busy."""

from __future__ import annotations

import os
import select
import time

from rover.foreign.lane import Lane
from rover.foreign.pace import LEAST_S, Pace
from rover.foreign.wire import SLOW, STRINGS_ARE, pack


def test_waiting_is_being_held_up_and_computing_is_not():
    pace = Pace()
    pace.begin()
    select.select([], [], [], 1.5 * LEAST_S)
    assert pace.held_up() > LEAST_S
    pace.begin()
    until = time.process_time() + 2 * LEAST_S
    while time.process_time() < until:
        pass
    assert pace.held_up() < LEAST_S


def test_what_was_slow_is_told_with_who_it_was_before_or_right_after_the_answer():
    lane: Lane[str] = Lane()
    lane.send(b"x", {1: "one", 2: "two", 3: "three"})
    answer = pack(STRINGS_ARE, 1, 0, 0, 0, 0, 0, 0)
    for packet in (
        *(answer, pack(SLOW, 1, 30_000), pack(SLOW, 2, 40_000)),
        *(pack(SLOW, 1, 50_000), pack(SLOW, 99, 60_000), pack(SLOW)),
    ):
        os.write(lane.theirs.fileno(), packet)
    assert [each.serial for each in lane.receive()] == [1]
    assert lane.slow == [("one", 0.03), ("two", 0.04), ("one", 0.05)]
    assert list(lane.outstanding) == [2, 3]
    lane.close()
