"""Who connects more often than anyone needs to."""

from rover.status.rates import A_SECOND, AT_ONCE, PEERS, Rates


def test_a_peer_that_floods_is_told_from_one_that_probes():
    rates = Rates()
    flood = [rates.within("neighbour", number / 100) for number in range(1_000)]
    assert flood.count(True) < AT_ONCE + 10 * A_SECOND + 1
    assert all(rates.within("node", second) for second in range(0, 600, 5))


def test_a_peer_that_has_stopped_is_as_good_as_any():
    rates = Rates()
    while rates.within("a", 0.0):
        pass
    assert not rates.within("a", 1.0)
    assert rates.within("a", 1.0 + AT_ONCE / A_SECOND)


def test_so_many_peers_are_remembered():
    rates = Rates()
    for number in range(2 * PEERS):
        rates.within(number, 0.0)
    assert len(rates) == PEERS
