"""What a watch makes of answers that are none."""

from __future__ import annotations

import json

import pytest

from bench.cluster.objects import pod
from bench.cluster.state import Fault

pytest_plugins = ("k8s_fixtures",)

BROKEN = [
    b"not JSON\n",
    b'{"type":"ADDED"}\n',
    b"[]\n",
    b"null\n",
    b"[" * 100_000 + b"\n",
    b'{"type":"ADDED","object":\xff\xfe}\n',
    b"\n",
]


@pytest.mark.parametrize("line", BROKEN, ids=range(len(BROKEN)))
def test_a_line_that_is_no_event_is_healed_by_a_new_list(api, followed, eventually, line):
    api.send_raw(line, "pods")
    eventually(lambda: len(api.asked("list")) == 2)
    api.put("pods", pod("late"))
    eventually(followed.has_truth)


def test_an_event_of_an_unknown_type_changes_nothing(api, followed, eventually):
    line = json.dumps({"type": "SHINY", "object": pod("ghost")}).encode() + b"\n"
    api.send_raw(line, "pods")
    api.put("pods", pod("late"))
    eventually(followed.has_truth)


MALFORMED = [
    {},
    {"metadata": None},
    {"metadata": {"namespace": "default", "uid": "u"}},
    {"metadata": {"name": 7, "namespace": "default", "uid": "u"}},
    [],
    None,
    "pod",
]


@pytest.mark.parametrize("item", MALFORMED, ids=range(len(MALFORMED)))
def test_an_object_that_does_not_parse_hurts_no_other(api, followed, eventually, item):
    before = followed.counts("pods")["lists"]
    api.send_raw(json.dumps({"type": "ADDED", "object": item}).encode() + b"\n", "pods")
    api.put("pods", pod("late"))
    eventually(followed.has_truth)
    assert followed.counts("pods")["unreadable"] == 1
    assert followed.counts("pods")["lists"] == before


def test_in_a_list_too(api, follow, eventually):
    body = {
        "kind": "PodList",
        "items": [{"metadata": {"name": "bad"}}, pod("good"), 7],
        "metadata": {"resourceVersion": str(api.version)},
    }
    api.fail(Fault(resource="pods", verb="list", body=json.dumps(body).encode()))
    follower = follow()
    eventually(lambda: follower.read_messages() or follower.index.pods_listed)
    assert list(follower.index.pods()) == [("default", "good")]
    assert follower.counts("pods")["unreadable"] == 2


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"<html>", b'{"items":[', b'{"items":[{}]', b'{"items":[{}]}'],
)
def test_a_list_that_is_none_is_asked_for_again(api, follow, eventually, body):
    api.fail(Fault(resource="pods", verb="list", body=body, times=2))
    follower = follow()
    eventually(follower.has_truth)
    assert follower.counts("pods")["fault malformed"] == 2
