"""A sampler whose counts the test says, and a profiler between it and an embedded backend."""

from __future__ import annotations

import contextlib
import threading
import time

from reporter_rig import AGENT, HURRY, announced, report

from rover.config.settings import BackendSettings, ProfilingSettings
from rover.errors import RoverError
from rover.guard import Guard
from rover.model import ProcessKey
from rover.profiling.continuous import Continuous
from rover.profiling.profiler import Profiler
from rover.profiling.records import StackCount, Target
from rover.profiling.watcher import Watcher
from rover.profiling.watching import Watched
from rover.reporter.reporter import Reporter

QUICK = ProfilingSettings(check_interval=0.1, flush_interval=0.2)


class ScriptedSampler:
    """Counts what it is told to, as a sampler would; keeps a diary of what it was asked."""

    def __init__(self):
        self._lock = threading.Lock()
        self.followed = {}
        self.followed_ever = []
        """What was followed, each time that it changed."""
        self.closed = False
        self.refused = {}
        self.breaks = None
        self._counted = {}

    def follow(self, wanted, started):  # noqa: ARG002  a pid is never reused here
        with self._lock:
            if self.breaks:
                raise self.breaks
            refused = {pid: why for pid, why in self.refused.items() if pid in wanted}
            now = {pid: targets for pid, targets in wanted.items() if pid not in refused}
            for pid, target in [(key[0], key[1]) for key in self._counted]:
                if target not in now.get(pid, ()):
                    for key in [key for key in self._counted if key[:2] == (pid, target)]:
                        del self._counted[key]
            self.followed = now
            self.followed_ever.append(dict(now))
            return refused

    def counts(self):
        with self._lock:
            return [StackCount(*key, *amount) for key, amount in self._counted.items()]

    def close(self):
        with self._lock:
            self.closed = True
            self.followed = {}

    def hit(self, pid, *user, target=Target.ON_CPU, kernel=(), count=1, ns=0):
        """Count a stack of a process, if it is followed; tell whether it is."""
        with self._lock:
            if target not in self.followed.get(pid, ()):
                return False
            key = (pid, target, tuple(kernel), user)
            before = self._counted.get(key, (0, 0))
            self._counted[key] = (before[0] + count, before[1] + ns)
            return True


class Rig:
    """An agent that knows the processes it is told of, and profiles them."""

    def __init__(self, backend, settings=QUICK, *, watching=False, **more):
        self.backend = backend
        self.sampler = ScriptedSampler()
        self.members = {}
        """Processes by the name of the entity."""
        self.silent = False
        self.guard = Guard()
        core = BackendSettings(addr=backend.address, **{"check_period": 0.1, "timeout": 2, **more})
        self.reporter = Reporter(
            core, HURRY, AGENT, supports=lambda processes: [True] * len(processes)
        )
        self.profiler = Profiler(
            settings,
            AGENT,
            backend=self.reporter,
            members=self._members,
            make_sampler=lambda: self.sampler,
            guard=self.guard,
        )
        continuous = Continuous(settings.continuous, settings.check_interval, self.reporter, self)
        begin = self.profiler.begin
        self.watcher = Watcher(continuous, begin, self.reporter, self.guard) if watching else None

    def _members(self, process_ids):
        if self.silent:
            raise RoverError("the discovery thread gave no answer")
        entities = self.reporter.entities_of(process_ids)
        return {
            process_id: self.members.get(key.process, ()) for process_id, key in entities.items()
        }

    def services(self):
        return self.reporter.services()

    def entities(self, services):
        return [
            Watched(process_id, entity, self.members.get(entity.process, ()))
            for process_id, entity in self.reporter.entities_in(services).items()
        ]

    def knows(self, number, *pids):
        """Report an entity, whose processes are these; give the backend's id of it."""
        told = report(number, pid=pids[0])
        self.members[told.entity.process] = tuple(ProcessKey(pid, 1) for pid in pids)
        self.reporter.publish(announced(told))
        name = told.entity.process
        held = self.backend.state.wait_for(
            lambda held: [one for one in held.find(process=name) if one.visible]
        )
        return held.find(process=name)[0].id

    def task(self, process_id, target="ON_CPU", seconds=60, **more):
        return self.backend.profiling.create_task(
            target, seconds, process_id=process_id, overlapping=True, **more
        )

    def profile(self, task):
        return self.backend.profiling.profile(task.id)

    def wait_for(self, task, predicate, timeout=20):
        return self.backend.profiling.wait_for(task.id, predicate, timeout)

    def hit(self, pid, *user, within=20, **more):
        """Count a stack of a process once it is followed."""
        deadline = time.monotonic() + within
        while not self.sampler.hit(pid, *user, **more):
            assert time.monotonic() < deadline, (
                f"pid {pid} is not followed: {self.sampler.followed}"
            )
            time.sleep(0.005)


@contextlib.contextmanager
def profiling(backend, settings=QUICK, **more):
    rig = Rig(backend, settings, **more)
    rig.reporter.start()
    rig.profiler.start()
    if rig.watcher:
        rig.watcher.start()
    try:
        yield rig
    finally:
        if rig.watcher:
            assert rig.watcher.stop(2)
        rig.profiler.stop(4)
        rig.reporter.stop(4)
    assert rig.guard.counts == {}
