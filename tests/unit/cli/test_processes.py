"""The words of a list stand for what the agent says, whatever agent it is."""

from __future__ import annotations

from rover.cli.processes import STATUSES, table
from rover.reporter.state import Standing


def test_each_standing_has_a_word_but_the_one_that_is_told_with_its_reason():
    assert STATUSES.keys() | {Standing.REFUSED.value} == {each.value for each in Standing}


def test_a_reason_of_another_version_is_shown_as_it_is():
    one = {
        "pid": 1, "name": "a", "command_line": "", "reason": "is too new", "detail": "",
        "entities": [], "shortened": False,
    }  # fmt: skip
    assert "is too new" in table([one], 80, wide=False)[1]
