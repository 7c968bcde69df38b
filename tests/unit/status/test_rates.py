"""Who connects more often than anyone needs to."""

from rover.status.rates import A_SECOND, AT_ONCE, EARNED_HELD_OFF, FLOOD, PEERS, Rates


def test_a_peer_that_floods_is_told_from_one_that_probes():
    rates = Rates()
    flood = [rates.excess("neighbour", number / 100) for number in range(1_000)]
    assert sum(excess < FLOOD for excess in flood) < AT_ONCE + FLOOD + 10 * A_SECOND + 1
    assert not any(rates.excess("node", second) for second in range(0, 600, 5))


def test_a_peer_that_has_stopped_is_as_good_as_any():
    rates = Rates()
    while rates.excess("a", 0.0) < FLOOD:
        pass
    assert rates.excess("a", 1.0)
    assert not rates.excess("a", 1.0 + (AT_ONCE + FLOOD) / A_SECOND)


def test_who_goes_on_after_a_long_time_of_being_held_off_gets_few_connections():
    rates = Rates()
    while rates.excess("a", 0.0) < FLOOD:
        pass
    rates.held_off("a", 80.0)
    assert rates.excess("a", 0.1) == FLOOD, "it was under way"
    again = [rates.excess("a", 80.0) for _ in range(20)]
    assert 0 < sum(excess < FLOOD for excess in again) <= EARNED_HELD_OFF * A_SECOND


def test_so_many_peers_are_remembered():
    rates = Rates()
    for number in range(2 * PEERS):
        rates.excess(number, 0.0)
    assert len(rates) == PEERS
