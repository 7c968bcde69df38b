"""Turns follow each other closely on a quiet host, and less so where much comes for a while."""

from __future__ import annotations

import pytest

from rover.discovery.tempo import BUSY_S, LEAST_S, Tempo


def after(tempo: Tempo, rate: float, seconds: float, *, found: bool = True) -> float:
    turns = int(rate * seconds)
    pauses = [tempo.note(100 + turn / rate, found=found) for turn in range(turns)]
    return pauses[-1]


def test_a_few_at_once_do_not_wait_for_each_other():
    assert after(Tempo(), rate=40, seconds=0.2) == LEAST_S


@pytest.mark.parametrize(("rate", "pause"), [(4, LEAST_S), (7, LEAST_S), (12, BUSY_S)])
def test_what_comes_steadily_shares_turns_from_some_rate_on(rate: float, pause: float):
    assert after(Tempo(), rate, seconds=10) == pause


def test_once_busy_it_stays_so_at_the_rate_that_is_left():
    tempo = Tempo()
    after(tempo, rate=40, seconds=2)
    assert after(tempo, rate=1 / BUSY_S, seconds=10) == BUSY_S


def test_questions_and_looks_that_find_nothing_do_not_count():
    assert after(Tempo(), rate=40, seconds=10, found=False) == LEAST_S


def test_a_second_or_two_of_rest_are_enough():
    tempo = Tempo()
    assert after(tempo, rate=40, seconds=2) == BUSY_S
    assert tempo.note(100 + 2 + 2, found=True) == LEAST_S
