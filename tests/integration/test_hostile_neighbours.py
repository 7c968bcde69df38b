"""Hostile neighbours of all kinds at once, for some seconds; `bench.hostile` takes longer."""

from __future__ import annotations

import pytest

from bench import hostile


@pytest.mark.kernel
def test_ordinary_processes_are_known_among_hostile_ones_and_nothing_is_left_of_these():
    result = hostile.run(seconds=8, seed=11, among=50, calm=15)
    assert result.neighbours == {}, result.said
    assert len(result.delays) > 0, "each of these was accepted, or the run would not have ended"
    assert len(result.unhealthy) < result.probes, result.unhealthy
    assert "Traceback" not in result.log
    before, after = result.before, result.after
    assert before is not None
    assert after is not None
    assert (after.threads, after.processes) == (before.threads, before.processes)
    assert after.descriptors == before.descriptors
    assert result.stop_status == 0
    assert result.stop_seconds < 5
