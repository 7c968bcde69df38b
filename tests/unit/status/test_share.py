"""How a thread keeps to its share of one core."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.status.share import CREDIT, LONGEST_REST, SHARE, Share


def test_what_comes_at_once_is_done_at_once():
    assert Share(0.0).spend(CREDIT / 2, 0.001) == 0.0


def test_after_a_quiet_time_it_may_hurry_again_but_no_more_than_before():
    share = Share(0.0)
    share.spend(3 * CREDIT, 0.0)
    assert share.is_short
    share.spend(0.0, 3_600.0)
    assert not share.is_short
    assert share.spend(CREDIT, 3_600.0) == 0.0
    assert share.spend(0.001, 3_600.0) > 0.0


@given(st.lists(st.floats(0.0001, 0.002), min_size=200, max_size=400))
def test_in_the_long_run_it_takes_its_share(rounds):
    now, share = 0.0, Share(0.0)
    for seconds in rounds:
        now += seconds
        rest = share.spend(seconds, now)
        assert 0 <= rest <= LONGEST_REST
        now += rest
    assert sum(rounds) <= CREDIT + SHARE * now + 0.002


@pytest.mark.parametrize("seconds", [0.0, 0.001, 10.0])
def test_it_never_rests_for_long(seconds):
    share = Share(0.0)
    share.spend(CREDIT, 0.0)
    assert share.spend(seconds, 0.0) <= LONGEST_REST
