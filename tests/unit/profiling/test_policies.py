from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.profiling.policies import Monitor, Policy, Rule, read
from rover.profiling.records import Target

GOOD = {"Threshold": "80", "Period": 10, "Count": 3}


def policy_of(profiling):
    text = json.dumps([{"ServiceName": "shop", "UUID": "ab", "Profiling": profiling}])
    (policy,) = read(text)
    return policy


def test_rules_are_read_by_target_and_by_what_is_watched():
    policy = policy_of(
        {
            "ON_CPU": {"PROCESS_CPU": GOOD, "SYSTEM_LOAD": {**GOOD, "Threshold": "2.5"}},
            "OFF_CPU": {"PROCESS_THREAD_COUNT": GOOD},
        }
    )
    assert policy == Policy(
        "shop",
        "ab",
        (
            Rule(Target.ON_CPU, Monitor.PROCESS_CPU, 80, 10, 3),
            Rule(Target.ON_CPU, Monitor.SYSTEM_LOAD, 2.5, 10, 3),
            Rule(Target.OFF_CPU, Monitor.PROCESS_THREAD_COUNT, 80, 10, 3),
        ),
    )


@pytest.mark.parametrize(
    ("profiling", "why"),
    [
        ({"NETWORK": {"PROCESS_CPU": GOOD}}, "does not profile that"),
        ({"ON_CPU": {"HTTP_ERROR_RATE": {**GOOD, "URIList": ["/a"]}}}, "does not watch that"),
        ({"ON_CPU": {"HTTP_AVG_RESPONSE_TIME": GOOD}}, "does not watch that"),
        ({"ON_CPU": {"PROCESS_CPU": {**GOOD, "Threshold": "much"}}}, "is no number"),
        ({"ON_CPU": {"PROCESS_CPU": {**GOOD, "Threshold": "nan"}}}, "is no number"),
        ({"ON_CPU": {"PROCESS_CPU": {**GOOD, "Threshold": None}}}, "is no number"),
        ({"ON_CPU": {"PROCESS_CPU": {**GOOD, "Period": 0}}}, "whole numbers above 0"),
        ({"ON_CPU": {"PROCESS_CPU": {**GOOD, "Count": "3"}}}, "whole numbers above 0"),
        ({"ON_CPU": {"PROCESS_CPU": {**GOOD, "Count": 11}}}, "must fit into the period"),
        ({"ON_CPU": {"PROCESS_CPU": {**GOOD, "Period": 3601}}}, "must fit into the period"),
        ({"ON_CPU": {"PROCESS_CPU": "80"}}, "is no number"),
    ],
)
def test_a_rule_that_cannot_be_held_is_refused_and_the_others_are_held(profiling, why):
    policy = policy_of({**profiling, "OFF_CPU": {"SYSTEM_LOAD": GOOD}})
    assert [rule.monitor for rule in policy.rules] == [Monitor.SYSTEM_LOAD]
    (refused,) = policy.refused
    assert why in refused


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"UUID": "a"}]', "[" * 100_000, "null"])
def test_what_is_no_list_of_policies_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        read(text)


def test_a_policy_without_rules_ends_it():
    assert policy_of({}).rules == policy_of(None).rules == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)


@given(JSON, JSON)
def test_whatever_comes_is_read_or_refused(whole, profiling):
    policy = policy_of({"ON_CPU": {"PROCESS_CPU": profiling}, "X": whole})
    assert len(policy.rules) <= 1
    try:
        read(json.dumps(whole))
    except ValueError:
        return
    assert isinstance(whole, list)
