"""Continuous profiling against the embedded backend: from a policy to the stacks of its task."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from profiling_rig import QUICK, profiling

from rover._proto.ebpf.profiling import Continuous_pb2 as pb
from rover._proto.service import ContinuousProfilingServiceStub
from rover.backend import EmbeddedBackend
from rover.config.settings import ContinuousSettings, TriggerSettings
from rover.model import ProcessKey

HURRY = replace(
    QUICK,
    continuous=ContinuousSettings(
        fetch_interval=0.1,
        check_interval=0.2,
        trigger=TriggerSettings(execute_duration=2, silence_duration=4),
    ),
)
ONE_THREAD = {"Threshold": "1", "Period": 10, "Count": 1}
MANY = {"Threshold": "100000", "Period": 10, "Count": 1}


def me():
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return ProcessKey(os.getpid(), ticks)


@pytest.fixture
def backend():
    with EmbeddedBackend() as running:
        yield running
        broken = [str(violation) for violation in running.violations]
    assert not broken


@pytest.fixture
def rig(backend):
    with profiling(backend, HURRY, watching=True) as made:
        made.knows(1, os.getpid())
        made.members["worker-1"] = (me(),)
        yield made


def triggered(backend):
    return [task for task in backend.profiling.tasks if task.causes]


def test_policies_are_held_while_the_sampler_is_busy(rig, backend, eventually, monkeypatch):
    busy, go_on = threading.Event(), threading.Event()

    def counts():
        busy.set()
        go_on.wait(20)
        return []

    monkeypatch.setattr(rig.sampler, "counts", counts)
    try:
        rig.task(rig.knows(2, 2))
        assert busy.wait(10)
        backend.profiling.policies.set("shop", {"ON_CPU": {"PROCESS_THREAD_COUNT": ONE_THREAD}})
        assert eventually(lambda: triggered(backend), 10)
    finally:
        go_on.set()


def test_what_passes_a_threshold_is_profiled_for_the_task_that_comes_back(rig, backend, eventually):
    backend.profiling.policies.set("shop", {"ON_CPU": {"PROCESS_THREAD_COUNT": ONE_THREAD}})
    (task,) = eventually(lambda: triggered(backend), 10)
    assert (task.target, task.seconds) == ("ON_CPU", 2)
    assert task.causes[0].startswith("ProcessThreadCount ")
    assert task.causes[0].endswith(">= 1")
    rig.hit(os.getpid(), "hot", count=3)
    assert rig.wait_for(task, lambda profile: profile.count == 3).of("hot") == (3, 0)
    eventually(lambda: not rig.sampler.followed, 10)


@pytest.mark.usefixtures("rig")
def test_the_same_is_not_profiled_again_before_the_silence_is_over(backend, eventually):
    backend.profiling.policies.set("shop", {"ON_CPU": {"PROCESS_THREAD_COUNT": ONE_THREAD}})
    first, second = eventually(lambda: len(triggered(backend)) == 2 and triggered(backend), 20)
    assert 3_900 <= second.start - first.start < 15_000


def test_a_policy_that_is_changed_is_obeyed(rig, backend, eventually):
    backend.profiling.policies.set("shop", {"ON_CPU": {"PROCESS_THREAD_COUNT": MANY}})
    eventually(lambda: rig.watcher._continuous._watch)
    time.sleep(1)  # several checks
    assert triggered(backend) == []
    backend.profiling.policies.set("shop", {"OFF_CPU": {"PROCESS_THREAD_COUNT": ONE_THREAD}})
    (task,) = eventually(lambda: triggered(backend), 10)
    assert task.target == "OFF_CPU"


def test_what_cannot_be_watched_is_said(rig, backend, caplog, eventually):
    backend.profiling.policies.set(
        "shop", {"ON_CPU": {"HTTP_ERROR_RATE": {**ONE_THREAD, "URIList": ["/a"]}}}
    )
    eventually(lambda: "HTTP_ERROR_RATE: this agent does not watch that" in caplog.text, 10)
    assert not rig.watcher._continuous._watch
    assert caplog.text.count("HTTP_ERROR_RATE") == 1


def test_a_trigger_that_the_backend_does_not_take_is_reported_later(
    rig, backend, caplog, eventually, monkeypatch
):
    monkeypatch.setattr("rover.profiling.continuous.RETRY", 0.5)
    backend.faults.error(method="reportProfilingTask", count=1)
    backend.profiling.policies.set("shop", {"ON_CPU": {"PROCESS_THREAD_COUNT": ONE_THREAD}})
    assert eventually(lambda: triggered(backend), 10)
    assert "does not take a trigger" in caplog.text
    assert rig.guard.counts == {}


def test_policies_are_given_to_whoever_has_another_version(backend):
    uuid = backend.profiling.policies.set("shop", {"ON_CPU": {"PROCESS_CPU": ONE_THREAD}})
    assert len(uuid) == 128
    with grpc.insecure_channel(backend.address) as channel:
        stub = ContinuousProfilingServiceStub(channel)

        def ask(**known):
            asked = [
                pb.ContinuousProfilingServicePolicyQuery(serviceName=name, uuid=version)
                for name, version in known.items()
            ]
            answer = stub.queryPolicies(
                pb.ContinuousProfilingPolicyQuery(policies=asked), timeout=5
            )
            return [command.command for command in answer.commands]

        assert ask(shop="", other="") == ["ContinuousProfilingPolicyQuery"]
        assert ask(shop=uuid, other="") == []
