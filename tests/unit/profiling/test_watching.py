from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from rover.model import Entity, ProcessKey
from rover.profiling import watching
from rover.profiling.policies import Monitor, Policy, Rule
from rover.profiling.records import Target
from rover.profiling.usage import Usage, usage
from rover.profiling.watching import Watch, Watched
from rover.profiling.windows import Cause, Window

SHOP = Entity("OS_LINUX", "shop", "host", "worker")
ONE, TWO = ProcessKey(11, 1), ProcessKey(12, 1)
CPU = Rule(Target.ON_CPU, Monitor.PROCESS_CPU, 80, 10, 3)
THREADS = Rule(Target.OFF_CPU, Monitor.PROCESS_THREAD_COUNT, 50, 10, 1)
LOAD = Rule(Target.ON_CPU, Monitor.SYSTEM_LOAD, 4, 5, 2)


class Host:
    """Processes whose use the test says, watched a second at a time."""

    def __init__(self, *rules, processes=(ONE,), silence=100):
        self.now = 1000.0
        self.busy = dict.fromkeys(processes, 0.0)
        self.spent = dict.fromkeys(processes, 0.0)
        self.threads = dict.fromkeys(processes, 1)
        self.load = 0.0
        self.watch = Watch(self._usage, lambda: self.load, silence)
        self.watch.learn([Policy("shop", "v1", rules)])
        self.watch.watch([Watched("id-1", SHOP, tuple(processes))])
        self.watch.fetch(self.now)

    def _usage(self, key):
        return Usage(self.spent[key], self.threads[key]) if key in self.spent else None

    def run(self, seconds):
        for _ in range(seconds):
            self.now += 1
            for key, share in self.busy.items():
                self.spent[key] += share
            self.watch.fetch(self.now)

    def due(self):
        return self.watch.due(self.now)


def test_a_threshold_must_be_reached_in_so_many_seconds():
    host = Host(CPU)
    host.busy[ONE] = 0.9
    host.run(2)
    assert host.due() == []
    host.run(1)
    (trigger,) = host.due()
    assert (trigger.target, trigger.watched.process_id) == (Target.ON_CPU, "id-1")
    (cause,) = trigger.causes
    assert (cause.monitor, cause.threshold) == (Monitor.PROCESS_CPU, 80)
    assert cause.current == pytest.approx(90)


def test_seconds_that_lie_before_the_period_count_no_more():
    host = Host(CPU)
    host.busy[ONE] = 0.9
    host.run(2)
    host.busy[ONE] = 0.1
    host.run(9)
    host.busy[ONE] = 0.9
    host.run(2)
    assert host.due() == []


def test_the_processes_of_an_entity_count_together():
    host = Host(CPU, processes=(ONE, TWO))
    host.busy = {ONE: 0.5, TWO: 0.4}
    host.run(3)
    (trigger,) = host.due()
    assert trigger.causes[0].current == pytest.approx(90)


def test_a_process_that_ends_takes_nothing_away():
    host = Host(CPU, processes=(ONE, TWO))
    host.busy = {ONE: 0.9, TWO: 0.9}
    host.run(2)
    del host.spent[TWO]
    del host.busy[TWO]
    host.run(1)
    (trigger,) = host.due()
    assert trigger.causes[0].current == pytest.approx(90)


def test_threads_and_load_are_watched_too():
    host = Host(THREADS, LOAD)
    host.threads[ONE] = 60
    host.load = 5
    host.run(2)
    assert {trigger.target: trigger.causes for trigger in host.due()} == {
        Target.OFF_CPU: (Cause(Monitor.PROCESS_THREAD_COUNT, 50, 60),),
        Target.ON_CPU: (Cause(Monitor.SYSTEM_LOAD, 4, 5),),
    }


def test_after_a_trigger_there_is_silence_for_its_target_alone():
    host = Host(LOAD, THREADS, silence=30)
    host.load = 5
    host.run(2)
    (trigger,) = host.due()
    host.watch.silence(trigger, host.now)
    host.threads[ONE] = 60
    host.run(20)
    assert [each.target for each in host.due()] == [Target.OFF_CPU]
    host.run(10)
    assert {each.target for each in host.due()} == {Target.ON_CPU, Target.OFF_CPU}


def test_a_policy_that_is_taken_back_triggers_nothing():
    host = Host(LOAD)
    host.load = 5
    host.run(2)
    host.watch.learn([Policy("shop", "v2", ())])
    assert host.due() == []
    assert not host.watch
    assert host.watch.known(["shop", "new"]) == {"shop": "v2", "new": ""}


def test_policies_of_services_that_have_gone_are_forgotten():
    host = Host(LOAD)
    assert host.watch.known(["other"]) == {"other": ""}
    assert host.watch.known(["shop"]) == {"shop": ""}


def test_so_many_processes_are_watched_and_no_more(monkeypatch):
    monkeypatch.setattr(watching, "MOST_WATCHED", 3)
    host = Host(LOAD)
    entities = [Watched(f"id-{n}", SHOP, (ONE, TWO)) for n in range(3)]
    assert host.watch.watch(entities) == 2


def test_a_window_is_no_longer_than_its_period():
    window = Window()
    for second in range(1000):
        window.add(float(second), 1.0, 10)
    assert len(window) == 10


def test_several_figures_in_one_second_count_once():
    window = Window()
    for tenth in range(9):
        window.add(1000 + tenth / 10, 100, 10)
    assert window.cause(CPU, 1000.9) is None


def test_what_this_process_uses_is_read_from_the_kernel():
    text = Path("/proc/self/stat").read_text()
    ticks = int(text.rpartition(")")[2].split()[19])
    before = usage(ProcessKey(os.getpid(), ticks))
    end = time.thread_time() + 0.1
    while time.thread_time() < end:
        pass
    after = usage(ProcessKey(os.getpid(), ticks))
    assert after.cpu_seconds - before.cpu_seconds >= 0.08
    assert after.threads >= 1
    assert usage(ProcessKey(os.getpid(), ticks + 1)) is None
