"""How an agent is judged to fare, by what is known of it."""

from __future__ import annotations

import re
from dataclasses import replace

import overviews
import pytest

from rover.reporter.state import Phase
from rover.status.overview import State, judged, overview


def test_an_agent_that_has_all_it_should_have_is_well():
    assert judged(overviews.parts()) == (State.WELL, [])


def test_one_that_announces_is_well_too():
    session = replace(overviews.parts().session, phase=Phase.ANNOUNCING)
    assert judged(overviews.parts(session=session))[0] is State.WELL


@pytest.mark.parametrize(
    ("different", "told"),
    [
        ({"about": overviews.without_backend().about}, "no eBPF, .*missing CAP_BPF"),
        ({"session": overviews.without_backend().session}, "the backend is not reached: oap"),
        ({"session": replace(overviews.parts().session, refused=2)}, "2 entities are set aside"),
        (
            {"watches": (overviews.watch("pods", listed=False),)},
            "pods are not listed: no answer yet",
        ),
        ({"watches": (overviews.watch("pods", "403"),)}, "pods are not watched: 403"),
        ({"scanned": False}, "the first scan is under way"),
        ({"summary": None}, "the discovery thread gives no answer"),
        ({"summary": replace(overviews.parts().summary, defects=1)}, "itself fails on 1"),
        ({"foreign_reads": "stuck for 9 s"}, "held up: stuck for 9 s"),
    ],
)
def test_what_is_missing_degrades_it_and_is_named(different: dict, told: str):
    state, because = judged(overviews.parts(**different))
    assert state is State.DEGRADED
    assert len(because) == 1
    assert re.search(told, because[0])


def test_a_part_that_does_nothing_makes_it_ill_whatever_is_missing_beside():
    state, because = judged(replace(overviews.stuck(), scanned=False))
    assert (state, because) == (
        State.ILL,
        ["discovery is stuck: nothing has been done for 14 s"],
    )


def test_an_overview_tells_nothing_of_single_processes():
    told = overview(overviews.parts())
    assert told["discovery"]["reasons"]["reported"] == 180
    assert set(told) == {
        "state", "because", "agent", "health", "first_scan", "ebpf", "session", "kubernetes",
        "discovery", "foreign_reads", "cost", "now",
    }  # fmt: skip
