"""A shortened soak; the whole one is ``python -m bench.k8s_soak``."""

from __future__ import annotations

from bench.k8s_soak import Soak


def test_after_faults_at_random_the_index_is_the_truth_and_nothing_leaked(tmp_path):
    result = Soak(20_260_101, tmp_path).run(36.0)
    assert len(result.faults) == 10
    assert result.equal
    assert result.verdicts_right
    assert result.quiet_after < 5.0
    assert result.threads[1] <= result.threads[0]
    assert result.descriptors[1] <= result.descriptors[0]
