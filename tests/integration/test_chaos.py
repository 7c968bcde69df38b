"""A shortened run of the whole agent among faults; the whole one is ``python -m bench.chaos``."""

from __future__ import annotations

import pytest

from bench.chaos import BEAT, GRACE, chaos, leaks

pytestmark = pytest.mark.kernel


def test_after_faults_and_churn_at_random_the_backend_holds_what_runs_within_a_beat():
    result = chaos(40.0, seed=3)
    assert sum(result.faults.values()) >= 8
    assert result.started > 30
    assert result.execs > 6
    assert not result.missing
    assert result.equal_after is not None
    assert result.equal_after <= BEAT + GRACE
    assert not result.broken
    assert leaks(result.samples)["processes"] <= 0
