"""Fixtures of the tests that follow an emulated API."""

from __future__ import annotations

import pytest

from bench.cluster.api import ApiServer
from bench.cluster.objects import pod, service
from bench.rig.follower import Follower, kubeconfig


@pytest.fixture
def api():
    with ApiServer() as server:
        for number in range(5):
            server.put("pods", pod(f"web-{number}", labels={"app": "web"}))
        server.put("services", service("web"))
        yield server


@pytest.fixture
def follow(api, tmp_path):
    """Start following the API; ended with the test."""
    started = []

    def start(**how):
        follower = Follower(api, kubeconfig(tmp_path, api.url, token=api.token), **how)
        follower.__enter__()
        started.append(follower)
        return follower

    yield start
    for follower in started:
        follower.__exit__()


@pytest.fixture
def followed(follow, eventually):
    follower = follow()
    eventually(lambda: follower.has_truth() and follower.api.watching() == 2)
    return follower
