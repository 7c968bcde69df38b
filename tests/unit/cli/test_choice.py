"""Which processes and events are chosen by service, namespace and container."""

from __future__ import annotations

import pytest

from rover.cli.choice import EVERYWHERE, Where

ID = "7dae778c37bd" * 5 + "abcd"
OF_A_POD = (("cart.shop", "mesh::cart"), "shop", "app", ID)
OF_THE_HOST = (("cron",), "", "", "")


def test_without_a_choice_all_is_chosen():
    assert EVERYWHERE.holds(*OF_A_POD)
    assert EVERYWHERE.holds(*OF_THE_HOST)


@pytest.mark.parametrize(
    "where",
    [
        Where(services=("cart.*",)),
        Where(services=("none", "mesh::car?")),
        Where(namespaces=("other", "shop")),
        Where(containers=("app",)),
        Where(containers=(ID[:6],)),
        Where(containers=(ID,)),
        Where(services=("cart*",), namespaces=("shop",), containers=("app",)),
    ],
)
def test_what_matches_each_kind_is_chosen_and_what_has_none_of_it_is_not(where: Where):
    assert where.holds(*OF_A_POD)
    assert not where.holds(*OF_THE_HOST)


@pytest.mark.parametrize(
    "where",
    [
        Where(services=("cart",)),
        Where(namespaces=("sho",)),
        Where(containers=("ap",)),
        Where(containers=(ID[1:7],)),
        Where(services=("cart*",), namespaces=("other",)),
    ],
)
def test_what_fails_one_kind_is_not_chosen(where: Where):
    assert not where.holds(*OF_A_POD)


def test_a_whole_id_finds_what_only_its_beginning_is_known_of():
    assert Where(containers=(ID,)).holds(("cron",), "", "", ID[:12])
