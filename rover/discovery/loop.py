"""The discovery thread: it alone turns what happens on the host into changes of the table."""

from __future__ import annotations

import logging
import os
import queue
import select
import threading
import time
from typing import TYPE_CHECKING, Final, TypeVar

from rover import heap
from rover.clock import NANOSECONDS, boot_clock_ns
from rover.discovery.figures import figures_of
from rover.errors import RoverError
from rover.metrics import gauge

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client.core import Metric

    from rover.config.settings import DiscoverySettings
    from rover.discovery.census import Census
    from rover.model import Changes
    from rover.naming.judge import Judge
    from rover.probes.settling import Probes

log = logging.getLogger("rover.discovery")

T = TypeVar("T")

LOOK_INTERVAL: Final = 0.025
"""Seconds between two looks at the kernel's maps at least, however much happens."""
HEAL_PAUSE: Final = 1.0
"""Seconds from a loss to the reconcile that heals it: a storm is let pass first."""
HEAL_INTERVAL: Final = 5.0
"""Seconds between two of them at least, so that lasting losses cost no lasting comparison."""
MAILBOX: Final = 4_096
"""Messages from other threads that wait at most; then the sender waits."""


class Discovery:
    """Runs a census in a thread of its own and publishes what changes."""

    def __init__(
        self,
        *,
        census: Census,
        judge: Judge,
        probes: Probes | None,
        settings: DiscoverySettings,
        publish: Callable[[Changes], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """Prepare; nothing runs before `start`.

        `period` is the longest pause between two looks in seconds, `looked_at` the
        time.monotonic() of the latest, `expected_at` that by which the thread means to do the next
        thing: one that lies behind by seconds tells that it is stuck.

        Args:
            census: used by the thread alone from `start` on.
            judge: the one that the census asks.
            probes: attached programs, closed by the thread at its end; None without eBPF.
            settings: periods.
            publish: takes changes without blocking, called by the thread.
            failed: told of a defect that ended the thread.
        """
        self._census = census
        self._judge = judge
        self._probes = probes
        self._publish = publish
        self._failed = failed
        # what no event tells has to be found by comparing
        seeing_all = probes is not None and not probes.loaded.missing
        self._settle_time = settings.settle_time
        self.period = settings.reconcile_period if seeing_all else settings.scanner.period
        self._mail: queue.Queue[object] = queue.Queue(MAILBOX)
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._stopping = threading.Event()
        self._scanned = threading.Event()
        self._thread = threading.Thread(target=self._run, name="discovery", daemon=True)
        self._release = heap.PeakRelease()
        self._look_at: float | None = None
        self.looked_at = self.expected_at = time.monotonic()
        self._reconcile_at = 0.0
        self._reconciled_at = 0.0

    def start(self) -> None:
        """Start with a scan of all that runs."""
        self.expected_at = time.monotonic()
        self._thread.start()

    def wait_scanned(self, timeout: float) -> bool:
        """Wait until the first scan is published."""
        return self._scanned.wait(timeout)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def post(self, message: object) -> None:
        """Hand news to the judge; waits where too many wait already. For other threads."""
        self._mail.put(message)
        os.eventfd_write(self._bell, 1)

    def inspect(self, question: Callable[[Census], T], timeout: float = 5.0) -> T:
        """Have the thread that owns the census answer a question about it.

        Raises:
            RoverError: no answer came in time.
        """
        answers: queue.SimpleQueue[T] = queue.SimpleQueue()
        self.post(_Question(lambda: answers.put(question(self._census))))
        try:
            return answers.get(timeout=timeout)
        except queue.Empty:
            raise RoverError(f"the discovery thread gave no answer within {timeout:g} s") from None

    def figures(self) -> list[Metric]:
        """Return the figures of discovery, gathered by its thread.

        Raises:
            RoverError: the thread does not answer.
        """
        gathered = self.inspect(lambda census: figures_of(census, self._judge.figures()), 1.0)
        return [*gathered, gauge("rover_mailbox", "News that wait.", "", {"": self._mail.qsize()})]

    def stop(self, timeout: float) -> None:
        """Publish what was found, detach the programs and end."""
        self._stopping.set()
        os.eventfd_write(self._bell, 1)
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        try:
            self._census.scan()
            self._turn()
            self._scanned.set()
            heap.settle()
            self._reconcile_at = time.monotonic() + self.period
            with select.epoll() as poll:
                poll.register(self._bell, select.EPOLLIN)
                if self._probes:
                    poll.register(self._probes.fileno(), select.EPOLLIN)
                while not self._stopping.is_set():
                    self._wait(poll)
                    self._turn()
        except BaseException as error:  # the agent must end, not go deaf
            log.exception("discovery ended by a defect")
            self._failed(error)
        finally:
            if self._probes:
                self._probes.close()

    def _wait(self, poll: select.epoll) -> None:
        """Sleep until something is due or has come, but not less than the look interval.

        In as few sleeps as can be: on a host where much comes and goes, waking up costs most.
        """
        soonest = self.looked_at + LOOK_INTERVAL
        came = self._sleep(poll, soonest)
        if self._probes and came == {self._probes.fileno()} and not self._probes.has_ended():
            # the first of what is to settle: nothing has before that time is over
            self._look_at = time.monotonic() + self._settle_time
            came = self._sleep(poll, soonest)
        if self._bell in came:
            os.eventfd_read(self._bell)
        rest = soonest - time.monotonic()
        if rest > 0:
            self._stopping.wait(rest)

    def _sleep(self, poll: select.epoll, soonest: float) -> set[int]:
        """Sleep until something is due or has come; return the descriptors that woke the thread."""
        self.expected_at = max(self._due(), soonest)
        pause = self.expected_at - time.monotonic()
        return {descriptor for descriptor, _ in poll.poll(max(0.0, pause))}

    def _due(self) -> float:
        now = time.monotonic()
        times = [self._reconcile_at, self._judge.next_refresh(now)]
        times += [at for at in (self._look_at, self._census.next_doubt()) if at is not None]
        return min(times)

    def _turn(self) -> None:
        """Take in whatever there is, and publish what became different."""
        census = self._census
        self.looked_at = self.expected_at = now = time.monotonic()
        next_due_ns = census.take()
        self._look_at = (
            None
            if next_due_ns is None
            else now + max(0, next_due_ns - boot_clock_ns()) / NANOSECONDS
        )
        self._read_mail()
        census.resolve_doubts(now)
        if self._judge.next_refresh(now) <= now:
            census.judge_again(self._judge.refresh(now))
        if census.lost_something():
            soonest = max(now + HEAL_PAUSE, self._reconciled_at + HEAL_INTERVAL)
            self._reconcile_at = min(self._reconcile_at, soonest)
        if self._scanned.is_set() and now >= self._reconcile_at:
            repaired = census.reconcile()
            self._reconciled_at, self._reconcile_at = now, now + self.period
            self._release.note(len(census.table))
            if repaired and self._probes:
                log.info("reconcile repaired rows=%d", repaired)
        changes = census.table.changes()
        if changes:
            self._publish(changes)

    def _read_mail(self) -> None:
        for _ in range(self._mail.qsize()):
            message = self._mail.get_nowait()
            if isinstance(message, _Question):
                message.answer()
            else:
                self._census.judge_again(self._judge.apply(message))


class _Question:
    """Something to be answered between two turns."""

    def __init__(self, answer: Callable[[], None]) -> None:
        self.answer = answer
