"""The profiler's thread: asks for tasks, has their processes sampled, and sends what was counted.

::

    backend ──tasks──▶ Tasks ──▶ runs ──processes──▶ Following ──▶ sampler
       ▲                          │ Ledger ◀──────────counts──────────┘
       └────────flushes───────────┘

Without a task it wakes once in `profiling.check_interval`, and nothing is loaded.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import TYPE_CHECKING, Final

from rover import metrics
from rover._proto.service import COLLECT_PROFILING_DATA, QUERY_TASKS
from rover.errors import BackendError, RoverError
from rover.profiling import messages
from rover.profiling.following import Following
from rover.profiling.sending import Run, Sender, shown
from rover.profiling.tasks import MILLISECONDS, Reason, Refusal, Tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from rover.config.settings import ProfilingSettings
    from rover.guard import Guard
    from rover.model import ProcessKey
    from rover.profiling.following import Wanted
    from rover.profiling.merge import Counts, Source
    from rover.profiling.records import Sampler
    from rover.profiling.sending import Backend
    from rover.profiling.tasks import Task, TaskKey

log = logging.getLogger("rover.profiling")

MOST_ENTITIES: Final = 16
"""Entities that are profiled at once: their flushes stay below 1 % of a core."""
MOST_PROCESSES: Final = 64
"""Processes of one entity that are sampled, the oldest."""
LOOK: Final = 1.0
"""Seconds between two looks at who has the entities, while a task runs."""
RETRY: Final = 1.0
"""Seconds until the backend is asked again that did not answer; doubles up to the usual pause."""
PATIENCE: Final = 60.0
"""Seconds after its end for which what was counted for a task waits for a backend that is away."""
UNANSWERED_TOLD: Final = 2
"""Questions in a row without an answer that are worth a word; at a start the first comes early."""
PAUSE_AFTER_DEFECT: Final = 5.0
CLOSING: Final = 0.5
"""Seconds of a stop that are kept for ending a call that does not return."""


class Profiler:
    """Carries out the backend's profiling tasks in a thread of its own.

    Args:
        settings: ``profiling``.
        agent_id: The backend has tasks for it.
        backend: Where tasks come from and profiles go.
        members: Gives the live processes of entities by the backend's ids, the leader first; may
            raise RoverError. The thread calls it.
        make_sampler: Gives what samples, when the first task comes; of this thread alone, which
            closes it.
        guard: Runs each step, so that a defect costs that step alone.
    """

    def __init__(
        self,
        settings: ProfilingSettings,
        agent_id: str,
        *,
        backend: Backend,
        members: Callable[[Collection[str]], Mapping[str, Sequence[ProcessKey]]],
        make_sampler: Callable[[], Sampler],
        guard: Guard,
    ) -> None:
        self._settings = settings
        self._agent_id = agent_id
        self._backend = backend
        self._members = members
        self._guard = guard
        self._following = Following(make_sampler, guard)
        self._tasks = Tasks()
        self._runs: dict[TaskKey, Run] = {}
        self._processes: Mapping[str, Sequence[ProcessKey]] = {}
        self._next_poll = self._next_flush = self._next_look = 0.0
        self._sender = Sender(backend)
        self._answered = False
        self._unanswered = 0
        """Questions in a row that the backend gave no answer to."""
        self._triggered: queue.SimpleQueue[Task] = queue.SimpleQueue()
        """Tasks that the agent itself has asked for."""
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="profiler", daemon=True)

    def start(self) -> None:
        """Begin to ask for tasks."""
        self._thread.start()

    def begin(self, task: Task) -> None:
        """Carry out a task that the agent itself has asked for; from any thread."""
        self._triggered.put(task)
        self._wake.set()

    def stop(self, timeout: float) -> bool:
        """Send what was counted, detach everything and end; tell whether that went in time."""
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is None:
            return True
        until = time.monotonic() + timeout
        self._backend.cancel_aside([QUERY_TASKS])  # the time left is for the last flush
        self._thread.join(max(0.0, timeout - CLOSING))
        while self._thread.is_alive() and time.monotonic() < until:
            self._backend.cancel_aside([QUERY_TASKS, COLLECT_PROFILING_DATA])
            self._thread.join(CLOSING / 10)
        if self._thread.is_alive():
            log.warning("profiling did not end within %g s; what it had counted is lost", timeout)
        return not self._thread.is_alive()

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._guard.whole("profiling", self._turn)
                self._wake.wait(max(0.0, self._rest()))
                self._wake.clear()
            self._guard.whole("profiling", self._finish)
        finally:
            self._following.close()

    def _rest(self) -> float:
        """Give the seconds until something is due."""
        if self._guard.failing_at("profiling"):
            return PAUSE_AFTER_DEFECT
        now = time.monotonic()
        rests = [self._next_poll - now]
        if self._runs:
            rests += [self._next_flush - now, self._next_look - now]
        change = self._tasks.next_change(wall := time.time())
        if change is not None:
            rests.append(change - wall)
        return min(rests)

    def _turn(self) -> None:
        """Do what is due."""
        now, wall = time.monotonic(), time.time()
        if now >= self._next_poll:
            self._poll()
            now, wall = time.monotonic(), time.time()
        while not self._triggered.empty():
            self._tasks.add(self._triggered.get())
        self._tasks.forget_over(wall)
        changed = self._begin(wall)
        over = [run for key, run in self._runs.items() if self._tasks.get(key) is None]
        if not self._runs:
            return
        if changed or over or now >= self._next_look:
            self._next_look = now + LOOK
            self._look()
        flush = now >= self._next_flush or any(run.counted for run in over)
        wanted = self._wanted()
        if flush or self._following.differs(wanted, now):
            self._follow(wanted, now)
        if flush:
            self._next_flush = now + self._settings.flush_interval
            self._flush(wall)
        self._end(over, wall)
        self._show()

    def _finish(self) -> None:
        """Count and detach before the last flush: that may take as long as the backend likes."""
        self._follow({}, time.monotonic())
        self._following.close()
        self._flush(time.time())
        self._end(list(self._runs.values()), float("inf"))
        self._show()

    def _call(self, question: bytes) -> bytes:
        # while something is sampled, its flush and its end wait for the answer
        return self._backend.call_aside(QUERY_TASKS, [question], hurried=bool(self._runs))

    def _poll(self) -> None:
        """Ask for tasks."""
        question = messages.query(self._agent_id, self._tasks.latest)
        try:
            commands = messages.commands(self._call(question))
        except (BackendError, ValueError) as error:
            pause = min(RETRY * 2 ** min(self._unanswered, 10), self._settings.check_interval)
            self._next_poll = time.monotonic() + pause
            self._unanswered += 1
            if self._unanswered == UNANSWERED_TOLD:
                log.info("profiling tasks cannot be asked for: %s", error)
            return
        self._next_poll = time.monotonic() + self._settings.check_interval
        if self._unanswered >= UNANSWERED_TOLD:
            log.info("profiling tasks are asked for again")
        self._unanswered = 0
        refused = self._tasks.take(commands, time.time())
        if not self._answered:  # at first the backend gives every task there ever was
            self._answered = True
            past = sum(refusal.reason is Reason.OVER for refusal in refused)
            refused = [refusal for refusal in refused if refusal.reason is not Reason.OVER]
            metrics.PROFILING_TASKS.labels(Reason.OVER.value).inc(past)
            if past:
                log.info("profiling tasks of before are over: count=%d", past)
        for refusal in refused:
            self._refuse(refusal)

    def _refuse(self, refusal: Refusal) -> None:
        """Count a refusal and name it, once."""
        if self._tasks.is_news(refusal.key, refusal.reason):
            metrics.PROFILING_TASKS.labels(refusal.reason.value).inc()
            log.warning(
                "profiling refused: task=%s process=%s reason=%r: %s",
                *shown(refusal.key),
                refusal.reason.value,
                refusal.detail,
            )

    def _begin(self, wall: float) -> bool:
        """Start what is due, up to the bound; tell whether anything was."""
        begun = False
        entities = {run.key.process_id for run in self._runs.values()}
        for task in self._tasks.running(wall):
            known = self._runs.get(task.key)
            if known is not None:
                known.task = task  # it may have been made to last longer
                continue
            if len(entities | {task.key.process_id}) > MOST_ENTITIES:
                what = f"{MOST_ENTITIES} processes are profiled already; it waits for one to end"
                self._refuse(Refusal(Reason.TOO_MANY, what, task.key))
                continue
            entities.add(task.key.process_id)
            if not self._runs:
                self._next_flush = time.monotonic() + self._settings.flush_interval
            self._runs[task.key] = Run(task, int(wall * MILLISECONDS))
            metrics.PROFILING_TASKS.labels("begun").inc()
            log.info(
                "profiling begins: task=%s process=%s target=%s seconds=%.0f",
                *shown(task.key),
                task.target.value,
                task.end - wall,
            )
            begun = True
        return begun

    def _look(self) -> None:
        """Find the processes of all entities; where that fails the last answer holds."""
        wanted = {run.key.process_id for run in self._runs.values()}
        try:
            self._processes = self._members(wanted)
        except RoverError as error:
            log.debug("profiling: who is to be profiled is not known: %s", error)

    def _wanted(self) -> Wanted:
        """Say which processes are to be sampled for what."""
        wanted: Wanted = {}
        for run in self._runs.values():
            if self._tasks.get(run.key) is None:
                continue
            members = self._processes.get(run.key.process_id, ())
            if not members:
                what = (
                    "no live process is reported as it; it is looked for as long as the task lasts"
                )
                self._refuse(Refusal(Reason.PROCESS, what, run.key))
            elif len(members) > MOST_PROCESSES:
                what = f"of {len(members)} processes the {MOST_PROCESSES} oldest are sampled"
                self._refuse(Refusal(Reason.TOO_MANY, what, run.key))
            for key in members[:MOST_PROCESSES]:
                wanted[key] = wanted.get(key, frozenset()) | {run.task.target}
        return wanted

    def _follow(self, wanted: Wanted, now: float) -> None:
        """Take note of the counts, then change over to what is wanted."""
        counts = self._following.counts()
        for run in self._runs.values():
            run.ledger.read(counts or {})
        before = self._following.sources()
        failures = self._following.follow(wanted, now)
        after = self._following.sources()
        kept = {source for source, key in after.items() if before.get(source) == key}
        for run in self._runs.values():
            self._count(run, after, kept, counts)
            for key in self._processes.get(run.key.process_id, ()):
                if key in failures:
                    what = f"pid={key.pid}: {failures[key]}"
                    self._refuse(Refusal(Reason.SAMPLING, what, run.key))

    def _count(
        self,
        run: Run,
        sources: Mapping[Source, ProcessKey],
        kept: Collection[Source],
        counts: Mapping[Source, Counts] | None,
    ) -> None:
        """Have a run's ledger count the run's processes, those that are sampled.

        Args:
            run: which.
            sources: what is sampled now.
            kept: those of them that were sampled before.
            counts: what had been counted of those; None where that is not known.
        """
        live = self._tasks.get(run.key) is not None
        members = set(self._processes.get(run.key.process_id, ())) if live else set()
        counted = {
            source: key
            for source, key in sources.items()
            if source.target is run.task.target and key in members
        }
        for source, key in run.counted.items():
            if counted.get(source) != key:
                run.ledger.leave(source)
        for source, key in list(counted.items()):
            if run.counted.get(source) == key:
                continue
            if source not in kept:
                run.ledger.join(source, {})
            elif counts is not None:
                run.ledger.join(source, counts.get(source, {}))
            else:  # what was counted for others must not be taken for this one's
                del counted[source]
        run.counted = counted

    def _flush(self, wall: float) -> None:
        """Send what is new; what the backend did not take comes last the next time."""
        for run in self._sender.flush(list(self._runs.values()), int(wall * MILLISECONDS)):
            self._runs[run.key] = self._runs.pop(run.key)

    def _end(self, over: Sequence[Run], wall: float) -> None:
        """Forget runs whose time has passed, once all was sent or was kept for long enough."""
        for run in over:
            ledger = run.ledger
            if ledger.has_more and wall < run.task.end + PATIENCE:
                continue
            del self._runs[run.key]
            unsent = ledger.unsent
            if unsent or ledger.lost:
                metrics.PROFILING_LOST.inc(unsent + ledger.lost)
            log.log(
                logging.WARNING if unsent or ledger.lost else logging.INFO,
                "profiling ended: task=%s process=%s target=%s samples=%d lost=%d",
                *shown(run.key),
                run.task.target.value,
                ledger.taken.times,
                unsent + ledger.lost,
            )

    def _show(self) -> None:
        metrics.PROFILING_RUNNING.set(len(self._runs))
        metrics.PROFILING_PROCESSES.set(len(self._following))
        metrics.PROFILING_WAITING.set(sum(run.ledger.waiting for run in self._runs.values()))
