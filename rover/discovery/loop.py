"""The discovery thread: it alone turns what happens on the host into changes of the table."""

from __future__ import annotations

import logging
import os
import queue
import select
import threading
import time
from typing import TYPE_CHECKING, Final, TypeVar

from rover import heap, metrics
from rover.clock import NANOSECONDS, boot_clock_ns
from rover.discovery.figures import figures_of
from rover.discovery.tempo import LEAST_S, Tempo
from rover.errors import RoverError
from rover.guard import Defect, Guard
from rover.metrics import gauge
from rover.model import Changes, Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client.core import Metric

    from rover.config.settings import DiscoverySettings
    from rover.discovery.census import Census
    from rover.model import EntityKey, ProcessKey
    from rover.naming.judge import Judge
    from rover.probes.settling import Probes

log = logging.getLogger("rover.discovery")

T = TypeVar("T")

LOOK_SLACK: Final = 0.025
"""Seconds by which a look may come later after one that found nothing: most of what starts on this
host ends before it settles, and waking up for it is what costs."""
TOLD_SLACK: Final = 0.15
"""Seconds by which it may come later while the kernel tells what settles: it does so for as long as
things come in, and where they stop at once a process that came in last is late by no more."""
HEAL_PAUSE: Final = 1.0
"""Seconds from a loss to the reconcile that heals it: a storm is let pass first."""
HEAL_INTERVAL: Final = 5.0
"""Seconds between two of them at least, so that lasting losses cost no lasting comparison."""
PAUSE_AFTER_DEFECT: Final = 0.25
"""Seconds between two turns at least, while a step of them fails."""
REFRESH_AFTER_DEFECT: Final = 3.0
"""Seconds until the judge is asked again for what changes without news, after that failed."""
MAILBOX: Final = 4_096
"""News from other threads that wait at most; what finds no room is its sender's to tell again."""
QUESTIONS: Final = 64
"""That wait at most; who asks more is refused."""


def until_look(until_due_ns: int, *, found: bool, is_told: bool = False) -> float:
    """Return the seconds until the next look at the kernel's maps.

    Args:
        until_due_ns: until the oldest of what they hold has settled.
        found: whether the latest look found anything that had settled or ended.
        is_told: whether the kernel tells what settles.
    """
    slack = TOLD_SLACK if is_told else 0.0 if found else LOOK_SLACK
    return max(0, until_due_ns) / NANOSECONDS + slack


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
        scanned: Callable[[], None] = lambda: None,
        guard: Guard | None = None,
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
            scanned: called when the first scan has been published.
            guard: runs each step, so that a defect costs that step alone; the census's.
        """
        self._census = census
        self._judge = judge
        self._probes = probes
        self._publish = publish
        self._failed = failed
        self._tell_scanned = scanned
        self._guard = guard or Guard()
        # what no event tells has to be found by comparing
        seeing_all = probes is not None and not probes.loaded.missing
        self._settle_time = settings.settle_time
        self.period = settings.reconcile_period if seeing_all else settings.scanner.period
        self._mail: queue.Queue[object] = queue.Queue(MAILBOX)
        self._questions: queue.Queue[Callable[[], None]] = queue.Queue(QUESTIONS)
        self._owed: set[EntityKey] = set()
        """Entities of which the latest word could not be published."""
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._stopping = threading.Event()
        self._scanned = threading.Event()
        self._thread = threading.Thread(target=self._run, name="discovery", daemon=True)
        self._release = heap.PeakRelease()
        self._look_at: float | None = None
        self.looked_at = self.expected_at = time.monotonic()
        self._reconcile_at = 0.0
        self._reconciled_at = 0.0
        self._refresh_from = 0.0
        self._tempo = Tempo()
        self._pause = LEAST_S

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

    @property
    def names_nothing(self) -> bool:
        """Whether no process at all can be judged; the agent's own are not. Any thread."""
        table = self._census.table
        failed = table.reasons[Reason.DEFECT]
        return failed > 0 and failed + table.reasons[Reason.SELF] == len(table)

    def post(self, news: object) -> bool:
        """Hand news to the judge, for other threads; never waits.

        Returns:
            False where too many wait: then they are lost, and their sender has to tell them again.
        """
        try:
            self._mail.put_nowait(news)
        except queue.Full:
            metrics.LOST_NEWS.inc()
            return False
        os.eventfd_write(self._bell, 1)
        return True

    def inspect(
        self, question: Callable[[Census], T], timeout: float = 5.0, *, about: str = ""
    ) -> T:
        """Have the thread that owns the census answer a question about it.

        Args:
            question: is run by that thread.
            timeout: seconds.
            about: what it is about, for the log, where it fails.

        Raises:
            RoverError: no answer came in time, or the question fails.
        """
        answers: queue.SimpleQueue[T | Defect] = queue.SimpleQueue()

        def ask() -> None:
            answers.put(self._guard.one("question", about, question, self._census))

        try:
            self._questions.put_nowait(ask)
        except queue.Full:
            raise RoverError("the discovery thread has too many questions to answer") from None
        os.eventfd_write(self._bell, 1)
        try:
            answer = answers.get(timeout=timeout)
        except queue.Empty:
            raise RoverError(f"the discovery thread gave no answer within {timeout:g} s") from None
        if isinstance(answer, Defect):
            raise RoverError(f"the answer fails by a defect of the agent: {answer.what}")
        return answer

    def figures(self) -> list[Metric]:
        """Return the figures of discovery, gathered by its thread; few where it does not answer."""
        waiting = gauge("rover_mailbox", "News that wait.", "", {"": self._mail.qsize()})
        try:
            return [waiting, *self.inspect(self._gather, 1.0, about="figures")]
        except RoverError:
            return [waiting]

    def _gather(self, census: Census) -> list[Metric]:
        counted = self._guard.one("figures", "", self._judge.figures)
        return figures_of(census, {} if isinstance(counted, Defect) else counted)

    def stop(self, timeout: float) -> None:
        """Publish what was found, detach the programs and end."""
        self._stopping.set()
        os.eventfd_write(self._bell, 1)
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        try:
            self._begin()
            with select.epoll() as poll:
                poll.register(self._bell, select.EPOLLIN)
                if self._probes:
                    poll.register(self._probes.fileno(), select.EPOLLIN)
                while not self._stopping.is_set():
                    if isinstance(self._guard.whole("wait", self._wait, poll), Defect):
                        self._stopping.wait(PAUSE_AFTER_DEFECT)
                    self._turn()
        except BaseException as error:  # the agent must end, not go deaf
            log.exception("discovery ended by a defect")
            self._failed(error)
        finally:
            if self._probes:
                self._probes.close()

    def _begin(self) -> None:
        """Take in all that runs, and tell of it."""
        while isinstance(self._guard.whole("scan", self._census.scan), Defect):
            self.looked_at = time.monotonic()
            if self._stopping.wait(HEAL_PAUSE):
                return
        self._turn()
        self._scanned.set()
        self._guard.one("scanned", "", self._tell_scanned)
        self._guard.one("heap", "", heap.settle)
        self._reconcile_at = time.monotonic() + self.period

    def _wait(self, poll: select.epoll) -> None:
        """Sleep until something is due or has come, but not less than the look interval.

        In as few sleeps as can be: on a host where much comes and goes, waking up costs most.
        """
        soonest = self.looked_at + self._pause
        if self._pause > LEAST_S:  # something will have come by then
            self._rest_until(soonest)
        came = self._sleep(poll, soonest)
        if self._probes and came == {self._probes.fileno()} and not self._probes.has_news():
            # the first of what is to settle: nothing has before that time is over
            self._look_at = time.monotonic() + self._settle_time
            came = self._sleep(poll, soonest)
        if self._bell in came:
            os.eventfd_read(self._bell)
        self._rest_until(soonest)

    def _rest_until(self, at: float) -> None:
        rest = at - time.monotonic()
        if rest > 0:
            self._stopping.wait(rest)

    def _sleep(self, poll: select.epoll, soonest: float) -> set[int]:
        """Sleep until something is due or has come; return the descriptors that woke the thread."""
        self.expected_at = max(self._due(), soonest)
        pause = self.expected_at - time.monotonic()
        return {descriptor for descriptor, _ in poll.poll(max(0.0, pause))}

    def _due(self) -> float:
        now = time.monotonic()
        census = self._census
        times = [self._reconcile_at, self._next_refresh(now)]
        others = (self._look_at, census.next_doubt(), census.looks.next_look())
        times += [at for at in others if at is not None]
        return min(times)

    def _next_refresh(self, now: float) -> float:
        at = self._guard.whole("next refresh", self._judge.next_refresh, now)
        if isinstance(at, Defect):
            at = now
        return max(at, self._refresh_from)

    def _turn(self) -> None:
        """Take in whatever there is, and publish what became different.

        Each step stands alone: where one fails, the others do their work.
        """
        census, run = self._census, self._guard.whole
        self.looked_at = self.expected_at = now = time.monotonic()
        figures = census.figures
        before = figures.settled + figures.exits
        took = census.take()
        found = figures.settled + figures.exits > before
        self._read_mail()
        done = [run("doubts", census.resolve_doubts, now), run("looks", census.looks.look, now)]
        if self._next_refresh(now) <= now:
            done.append(run("refresh", self._refresh, now))
            if isinstance(done[-1], Defect):
                self._refresh_from = now + REFRESH_AFTER_DEFECT
        if census.lost_something():
            soonest = max(now + HEAL_PAUSE, self._reconciled_at + HEAL_INTERVAL)
            self._reconcile_at = min(self._reconcile_at, soonest)
        if self._scanned.is_set() and now >= self._reconcile_at:
            self._reconciled_at, self._reconcile_at = now, now + self.period
            done.append(run("reconcile", self._reconcile))
            if isinstance(done[-1], Defect):
                census.doubt_all()
        changes = run("changes", census.changes, now)
        if not isinstance(changes, Defect) and changes:
            if census.feed.is_heard:
                self._guard.one("feed", "changes", census.feed.changed, changes)
            self._tell(changes)
        failed = not took or any(isinstance(each, Defect) for each in (*done, changes))
        pause = self._tempo.note(now, found=found)
        self._pause = PAUSE_AFTER_DEFECT if failed else pause
        due = census.next_due_ns
        self._look_at = None
        if due is not None:
            until_due_ns = due - boot_clock_ns()
            self._look_at = now + until_look(until_due_ns, found=found, is_told=census.is_told)

    def _read_mail(self) -> None:
        for _ in range(self._questions.qsize()):
            self._questions.get_nowait()()
        for _ in range(self._mail.qsize()):
            news = self._mail.get_nowait()
            keys = self._guard.one("news", type(news).__name__, self._apply, news)
            if not isinstance(keys, Defect):
                self._census.judge_again(keys)

    def _apply(self, news: object) -> tuple[ProcessKey, ...]:
        return tuple(self._judge.apply(news))

    def _refresh(self, now: float) -> None:
        self._census.judge_again(tuple(self._judge.refresh(now)))

    def _reconcile(self) -> None:
        repaired = self._census.reconcile()
        self._release.note(len(self._census.table))
        if repaired and self._probes:
            log.info("reconcile repaired rows=%d", repaired)
        if self._owed:
            owed, self._owed = self._owed, set()
            self._census.table.tell_again(owed)

    def _tell(self, changes: Changes) -> None:
        if isinstance(self._guard.whole("publish", self._publish, changes), Defect):
            self._guard.whole("publish", self._tell_apart, changes)

    def _tell_apart(self, changes: Changes) -> None:
        """Publish each entity alone; those for which it fails are told with the next reconcile."""
        apart = [(each.entity.key, Changes((each,))) for each in changes.announced]
        apart += [(key, Changes((), (key,))) for key in changes.withdrawn]
        for key, change in apart:
            name = "/".join(key)
            if isinstance(self._guard.one("publish", name, self._publish, change), Defect):
                self._owed.add(key)
        self._publish(Changes())  # not even nothing can be published: then it is no entity's fault
