"""The backend's state as threads see it: calls come in, snapshots, waiting and listeners go out."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from rover.backend.items import beat_items, reported_items
from rover.backend.records import Call, Change, Snapshot, Stamp, Violation
from rover.backend.rules import Rules
from rover.backend.storage import FailedBeat, Storage
from rover.config.layers import LAYERS_10_1

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rover._proto.ebpf.profiling.Process_pb2 import (
        EBPFProcessPingPkgList,
        EBPFProcessReportList,
        EBPFReportProcessDownstream,
    )
    from rover.backend.records import Method

    Listener = Callable[[tuple[Change, ...]], None]

CALLS_KEPT: Final = 1_000
VIOLATIONS_KEPT: Final = 1_000
TIMES_KEPT: Final = 100_000

log = logging.getLogger("rover.backend")


class State:
    """What the backend holds; safe to use from any thread.

    Listeners run in the thread of the call that made the change, one call at a time and in order;
    they may read the state but must not wait in it.
    """

    def __init__(self, layers: frozenset[str] = LAYERS_10_1) -> None:
        self._condition = threading.Condition(threading.RLock())
        self._storage = Storage(layers)
        self._rules = Rules(layers)
        self._calls: deque[Call] = deque(maxlen=CALLS_KEPT)
        self._calls_total = 0
        self._violations: list[Violation] = []
        self._violations_total = 0
        self._times: OrderedDict[tuple[int, str], Stamp] = OrderedDict()
        self._listeners: list[Listener] = []
        self._version = 0
        self._snapshot: Snapshot | None = None

    def report(self, request: EBPFProcessReportList) -> EBPFReportProcessDownstream:
        """Store a report and give the server's answer to it."""
        with self._condition:
            at = Stamp.now()
            items = reported_items(request)
            self._add_violations(self._rules.report(items, request.ebpfAgentID, at))
            answer, changes = self._storage.report(request, items, at)
            for change in changes:
                self._remember_pid(change, at)
            self._notify(changes)
            return answer

    def beat(self, request: EBPFProcessPingPkgList) -> FailedBeat | None:
        """Store a beat; what comes back says at which item it failed, None where at none."""
        with self._condition:
            at = Stamp.now()
            items = beat_items(request)
            self._add_violations(self._rules.beat(items, request.ebpfAgentID, at))
            outcome = self._storage.beat(items, at)
            self._notify(outcome.changes if isinstance(outcome, FailedBeat) else outcome)
            return outcome if isinstance(outcome, FailedBeat) else None

    def undecodable(self, method: Method, why: str) -> None:
        """Take note of a message that could not be read."""
        with self._condition:
            self._add_violations([self._rules.undecodable(method, why, Stamp.now())])
            self._changed()

    def violated(self, violation: Violation) -> None:
        """Take note of a broken rule that another part of the backend found."""
        with self._condition:
            self._add_violations([violation])
            self._changed()

    def answered(self, call: Call) -> None:
        """Take note of how a call was answered."""
        with self._condition:
            self._calls.append(call)
            self._calls_total += 1
            self._changed()

    def forget(self) -> None:
        """Lose all rows, as a server whose database went with it; calls and violations stay."""
        with self._condition:
            self._rules.forgotten()
            self._notify(self._storage.forget())

    def snapshot(self) -> Snapshot:
        """All that is held now."""
        return self._current()[0]

    def times(self) -> Mapping[tuple[int, str], Stamp]:
        """When each pid was first accepted as each process id; the latest 100,000 of them.

        Outlives a loss of memory, so that a bench can measure from exec to acceptance.
        """
        with self._condition:
            return dict(self._times)

    def wait_for(self, predicate: Callable[[Snapshot], object], timeout: float = 10.0) -> Snapshot:
        """Wait until the predicate holds for what is held, and give that.

        The predicate runs in the caller's thread, once for each change.

        Args:
            predicate: Truthy for what is waited for.
            timeout: Seconds.

        Raises:
            TimeoutError: It did not hold in time; the message says what is held instead.
        """
        deadline = time.monotonic() + timeout
        while True:
            snapshot, version = self._current()
            if predicate(snapshot):
                return snapshot
            with self._condition:
                left = deadline - time.monotonic()
                if not self._condition.wait_for(
                    lambda seen=version: self._version != seen,  # type: ignore[misc]
                    max(left, 0),
                ):
                    raise TimeoutError(f"not seen within {timeout:g} s; {_summary(snapshot)}")

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Have a listener told of changes, one tuple a call; give what ends that."""
        with self._condition:
            self._listeners.append(listener)

        def unsubscribe() -> None:
            with self._condition:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return unsubscribe

    def _current(self) -> tuple[Snapshot, int]:
        """The snapshot of now, and the version that it is of."""
        with self._condition:
            if self._snapshot is None:
                self._snapshot = replace(
                    self._storage.snapshot(),
                    violations=tuple(self._violations),
                    violations_total=self._violations_total,
                    calls=tuple(self._calls),
                    calls_total=self._calls_total,
                )
            return self._snapshot, self._version

    def _notify(self, changes: tuple[Change, ...]) -> None:
        self._changed()
        if not changes:
            return
        for listener in tuple(self._listeners):
            try:
                listener(changes)
            except Exception:
                # it must not fail the call of an agent that did nothing wrong
                log.exception("listener failed, it is not told again")
                self._listeners.remove(listener)

    def _changed(self) -> None:
        self._version += 1
        self._snapshot = None
        self._condition.notify_all()

    def _add_violations(self, violations: list[Violation]) -> None:
        for violation in violations:
            log.debug("violation rule=%s detail=%r", violation.rule.name, violation.detail)
        self._violations_total += len(violations)
        self._violations += violations[: VIOLATIONS_KEPT - len(self._violations)]

    def _remember_pid(self, change: Change, at: Stamp) -> None:
        process = change.process
        if process.pid is None or (process.pid, process.id) in self._times:
            return
        self._times[process.pid, process.id] = at
        if len(self._times) > TIMES_KEPT:
            self._times.popitem(last=False)


def _summary(snapshot: Snapshot) -> str:
    visible = sum(process.visible for process in snapshot.processes)
    return (
        f"held: {len(snapshot.processes)} processes, {visible} of them visible, "
        f"{len(snapshot.services)} services, {snapshot.dropped_total} dropped, "
        f"{snapshot.calls_total} calls, {snapshot.violations_total} violations"
    )
