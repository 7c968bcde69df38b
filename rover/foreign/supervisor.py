"""One child at a time, watched by a thread: started, replaced where it is held up, left behind."""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from typing import TYPE_CHECKING, Final

from rover.foreign.blame import Blame, Blames
from rover.foreign.owners import owner_of
from rover.foreign.process import Child
from rover.foreign.records import Look, Lost, ReadFigures
from rover.foreign.wire import DEFECT

if TYPE_CHECKING:
    from collections.abc import Callable

    from rover.foreign.lane import Answer, Lane

log = logging.getLogger("rover.foreign")

STUCK_S: Final = 0.4
"""Seconds without an answer after which a child that sleeps counts as held up."""
STARVED_S: Final = 10.0
"""The same for one that has no processor, or is still starting."""
WATCH_S: Final = 0.1
"""Seconds between two looks at requests without an answer."""
MAX_LEFT_BEHIND: Final = 4
"""Children that wait in the kernel and cannot be killed; with so many no other is started."""
REAP_S: Final = 0.1
STOP_S: Final = 0.2
"""Seconds for a child that was killed to go, while reading goes on and at the end."""
AGAIN_S: Final = 1.0
LONGEST_S: Final = 60.0
"""Seconds until a child is started again that could not be, growing from one to the other."""
WORKS: Final = "works"
NOT_STARTED: Final = "no process to read in is started"
REPLACED: Final = "the process to read in is being replaced"
"""Why there is no child, where it is no fault; why is never empty while there is none."""


class Supervisor:
    """The child and the thread that watches it; `_changed` guards what both threads use."""

    def __init__(self, proc: str = "/proc") -> None:
        """Prepare; nothing runs before `start`.

        Args:
            proc: where the host's processes are.
        """
        self._notify: Callable[[], object] | None = None
        self._proc = proc
        self._changed = threading.Condition()
        # from here on under the condition's lock
        self._blames = Blames()
        self._owners = False
        """Whether any who is or was left out is so as the maker of a user namespace: only then is
        it asked of others."""
        self._child: Child | None = None
        self._retired: list[Child] = []
        self.own_pids = {os.getpid()}
        """This process and its children: as process 1 it has others as well."""
        self._left_behind: list[Child] = []
        self._inbox: list[Answer | Lost] = []
        self._told = False
        self._stopping = False
        self._suspects: dict[Lane[Blame] | Lane[Look], tuple[int, Blame | Look]] = {}
        self._start_at = 0.0
        self._start_pause = AGAIN_S
        self._fault = NOT_STARTED
        self._started = self._held_up = self._late = self._defects = 0
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._watch, name="foreign-reads", daemon=True)

    def start(self) -> None:
        """Start the child and the thread that watches it."""
        self._start_child()
        self._thread.start()

    def listen(self, notify: Callable[[], object]) -> None:
        """Have the watching thread call this when `received` has something to give."""
        self._notify = notify
        self._tell()

    def stop(self) -> None:
        """End the child; one that the kernel holds is left to it. Waits for nothing else."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        os.eventfd_write(self._bell, 1)
        if self._thread.ident is not None:
            self._thread.join(2 * REAP_S + WATCH_S)
        with self._changed:
            child, self._child = self._child, None
            for each in [child, *self._retired] if child else self._retired:
                each.kill()
                each.close()
        until = time.monotonic() + STOP_S
        for each in [child, *self._left_behind] if child else self._left_behind:
            if not _reap(each, until):
                each.leave()

    # the state of it all

    def state(self) -> str:
        """Say in a few words how reading goes, for health."""
        now = time.monotonic()
        with self._changed:
            child, last = self._child, self._blames.last
            if child is None and self._fault != REPLACED:
                return self._fault
            if self._left_behind or (last and self._blames.active(now)):
                return (
                    f"stuck for {now - self._blames.last_at:.0f} s on {last or 'a read'},"
                    " which is left out; others are read"
                )
            if child is None:
                return REPLACED
            for lane in (child.memory, child.files):
                if suspect := self._held_up_by(child, lane):
                    return f"stuck for {now - lane.moved_at:.1f} s on {_behind(suspect[1])[0]}"
            return WORKS

    @property
    def child_pid(self) -> int:
        """The child's pid, 0 where there is none."""
        with self._changed:
            return self._child.pid if self._child else 0

    @property
    def works(self) -> bool:
        """Whether there is a child to ask."""
        with self._changed:
            return self._child is not None

    def figures(self) -> ReadFigures:
        """Return the counts."""
        with self._changed:
            return ReadFigures(
                self._started,
                self._held_up,
                len(self._left_behind),
                self._blames.left_out(time.monotonic()),
                self._late,
                self._defects,
            )

    def _drop_retired(self) -> None:
        for child in self._retired:
            child.close()
        self._retired.clear()

    # the watching thread

    def _watch(self) -> None:
        poll = select.poll()
        poll.register(self._bell, select.POLLIN)
        while not self._stopping:
            child = self._child
            busy = child is None or child.memory.outstanding or child.files.outstanding
            if child:
                poll.register(child.files, select.POLLIN)
            for descriptor, _ in poll.poll(WATCH_S * 1000 if busy or self._left_behind else None):
                if descriptor == self._bell:
                    os.eventfd_read(self._bell)
            if child:
                poll.unregister(child.files)
            try:
                self._look_after(child)
            except Exception:
                log.exception("defect in foreign reads; please report it")
                time.sleep(WATCH_S)

    def _look_after(self, child: Child | None) -> None:
        for each in self._left_behind:
            if each.has_ended():
                self.own_pids.discard(each.pid)
        self._left_behind = [each for each in self._left_behind if each.pid in self.own_pids]
        self._note_held()
        if child is None:
            self._start_child()
            return
        with self._changed:
            answers = child.files.receive()
            self._defects += sum(answer.word == DEFECT for answer in answers)
            self._inbox += answers
            if answers:
                self._changed.notify_all()
        self._note_slow(child.files)
        self._tell()
        if child.memory.ended or child.files.ended:
            self._see_to_ended(child)
            return
        suspects = {}
        for lane in (child.memory, child.files):
            suspect = self._held_up_by(child, lane)
            if suspect is None:
                continue
            # seen twice: an answer may just have been taken out of the socket, and not noted yet
            if self._suspects.get(lane) == suspect:
                self._give_up(child, suspect[1])
                return
            suspects[lane] = suspect
        self._suspects = suspects

    @staticmethod
    def _held_up_by(
        child: Child, lane: Lane[Blame] | Lane[Look]
    ) -> tuple[int, Blame | Look] | None:
        """Return what the child has been at for too long, unless it is computing."""
        waited = time.monotonic() - lane.moved_at
        if not lane.outstanding or waited < STUCK_S or lane.readable():
            return None
        if waited < STARVED_S and child.is_at_work(lane):
            return None
        return lane.oldest()

    def _see_to_ended(self, child: Child) -> None:
        """Start another in place of a child that has ended, or said what is no answer.

        What it was at may have brought that about: it is left out for a while, so that the next
        child does not end by it as well.
        """
        directory, struck = 0, []
        for at in (child.memory.oldest(), child.files.oldest()):
            if at:
                blame, number = _behind(at[1])
                directory = directory or number
                struck.append(blame)
        with self._changed:
            for blame in struck:
                self._blames.strike(self._blamed(blame), time.monotonic())
        log.warning(
            "foreign_reads.ended pid=%d while it read of %s; it is started again",
            child.pid,
            " and of ".join(map(str, struck)) or "nobody",
        )
        self._replace(child, Lost(directory))

    def _give_up(self, child: Child, at: Blame | Look) -> None:
        """Replace a child that is held up, and leave out who did it."""
        blame, directory = _behind(at)
        blame = self._blamed(blame)
        with self._changed:
            self._held_up += 1
            pause = self._blames.strike(blame, time.monotonic())
        log.warning(
            "foreign_reads.held_up by=%s%s; it is left out for %g s, and reading goes on in another"
            " process",
            "a directory of language agents of " if directory else "",
            blame,
            pause,
        )
        self._replace(child, Lost(directory), blame)

    def _note_slow(self, lane: Lane[Blame] | Lane[Look]) -> None:
        """Leave out whose reads come slowly time and again; for the thread that receives."""
        slow = [(self._blamed(_behind(at)[0]), seconds) for at, seconds in lane.slow]
        lane.slow.clear()
        for blame, seconds in slow:
            with self._changed:
                pause = self._blames.slow(blame, seconds, time.monotonic())
            if pause:
                log.warning(
                    "foreign_reads.slow by=%s; its %s is left out for %g s",
                    blame,
                    blame.key[0],
                    pause,
                )

    def _owned(self, blame: Blame) -> Blame:
        """Add who made the user namespace of a process."""
        if not blame.uid or blame.owner:
            return blame
        return blame._replace(owner=max(0, owner_of(blame.pid, self._proc)))

    def _blamed(self, blame: Blame) -> Blame:
        """The same for one that is to be left out."""
        blame = self._owned(blame)
        self._owners |= blame.owner > 0
        return blame

    def _note_held(self) -> None:
        """Leave out whose reads hang in children left behind, and keep the last place for root."""
        blames = [each.held_by for each in self._left_behind if each.held_by]
        with self._changed:
            last = len(self._left_behind) >= MAX_LEFT_BEHIND - 1
            self._blames.hold(blames, last_place=last)

    def _replace(self, child: Child, news: Lost, held_by: Blame | None = None) -> None:
        """End a child, or leave it behind where the kernel holds it, and start another."""
        child.kill()
        if _reap(child, time.monotonic() + REAP_S):
            self.own_pids.discard(child.pid)
        else:
            child.held_by = held_by
            self._left_behind.append(child)
            self._note_held()
        with self._changed:
            self._child, self._fault = None, REPLACED
            self._retired.append(child)
            self._changed.notify_all()
        self._start_child()
        with self._changed:
            self._inbox.append(news)
        self._tell()

    def _start_child(self) -> None:
        """Start a child, unless too many are left behind or it failed a moment ago."""
        now = time.monotonic()
        if self._stopping or now < self._start_at:
            return
        child, fault = None, ""
        if len(self._left_behind) >= MAX_LEFT_BEHIND:
            fault = (
                f"paused: {len(self._left_behind)} reads hang in the kernel and cannot be ended,"
                f" the last on {self._blames.last or 'a read'}"
            )
        else:
            try:
                child = Child(self._proc)
            except OSError as error:
                fault = f"no process to read in could be started: {error}"
        # one that ends at once is not started at once again
        self._start_pause = AGAIN_S if child else min(2 * self._start_pause, LONGEST_S)
        self._start_at = now + self._start_pause
        if fault and fault != self._fault:
            log.error(
                "foreign_reads.%s; processes are reported without command line meanwhile", fault
            )
        if child:
            self.own_pids.add(child.pid)
        with self._changed:
            self._child, self._fault = child, fault
            self._started += child is not None
            self._changed.notify_all()

    def _tell(self) -> None:
        """Say once that something came, until it is taken."""
        with self._changed:
            notify = self._notify if self._inbox and not self._told else None
            self._told |= notify is not None
        if notify:
            notify()


def _behind(at: Blame | Look) -> tuple[Blame, int]:
    """Tell who stands behind a read, and of which directory it is, 0 where it is of memory."""
    return (at, 0) if isinstance(at, Blame) else (at.blame, at.directory)


def _reap(child: Child, until: float) -> bool:
    """Wait a moment for a child that was killed; tell whether it is gone."""
    while not child.has_ended():
        if time.monotonic() > until:
            return False
        time.sleep(0.002)
    return True
