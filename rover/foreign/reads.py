"""The agent's side: asks the child, and waits for its answers within a budget."""

from __future__ import annotations

import itertools
import os
import time
from typing import TYPE_CHECKING, Final

from rover.foreign.blame import Blame, own_mount_namespace
from rover.foreign.records import Found, Look, Lost
from rover.foreign.supervisor import Supervisor
from rover.foreign.wire import STRINGS, STRINGS_ARE, pack
from rover.waiting import ONE_S, Budget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rover.foreign.lane import Answer
    from rover.foreign.process import Child

SLICE_S: Final = 0.01
PATIENT_S: Final = 1.0
"""Seconds for which an answer is waited for while the child works at it."""
FIRST_S: Final = 0.002
"""Seconds in which an answer nearly always comes; only then is it looked what the child does."""
MAX_KEPT: Final = 1_024
"""Answers that nobody has come for."""


class ForeignReads(Supervisor):
    """One child at a time, and the thread that watches it.

    `ask`, `answer`, `send`, `wait` and `received` belong to the discovery thread.
    """

    def __init__(self, proc: str = "/proc") -> None:
        """Prepare; nothing runs before `start`.

        Args:
            proc: where the host's processes are.
        """
        super().__init__(proc)
        self._serials = itertools.count(1)
        self._budget = Budget(time.monotonic())
        self._answers: dict[int, Answer] = {}
        self._own_namespace = own_mount_namespace()

    # what lies in processes' memory

    def ask(self, threads: Sequence[Blame], limit: int, *, with_place: bool) -> list[int]:
        """Ask for what processes keep in their own memory; return a serial for each, 0 for none.

        Args:
            threads: whom to read, by the id of a thread.
            limit: bytes of each end of a command line.
            with_place: whether to look for the root and TMPDIR as well.
        """
        now = time.monotonic()
        with self._changed:
            self._drop_retired()
            child = self._child
            serials, wanted = [], {}
            for blame in threads:
                serial = 0
                blame = self._owned(blame) if self._owners else blame  # noqa: PLW2901
                if child and not self._blames.pause(blame, now):
                    serial = next(self._serials)
                    wanted[serial] = blame
                serials.append(serial)
            if child is None or not wanted:
                return serials
            pairs = [number for serial, blame in wanted.items() for number in (serial, blame.pid)]
            if not child.memory.send(pack(STRINGS, limit, int(with_place), *pairs), wanted):
                return [0] * len(serials)
            return serials

    def answer(self, serial: int) -> Found | None:
        """Return what was found; None where it did not come within the budget."""
        answer = self._await(serial) if serial else None
        if answer is None or answer.word != STRINGS_ARE:
            self._late += 1
            return None
        try:
            _, line_errno, place_errno, mount, inode, length, tail = answer.numbers
        except ValueError:
            return None
        tmpdir, line = answer.text[:length], answer.text[length:]
        end = len(line) - min(max(tail, 0), len(line))
        return Found(line[:end], line_errno, place_errno, mount, inode, tmpdir, line[end:])

    def why_late(self, blame: Blame) -> str:
        """Say why nothing was found of a process; never empty, for that means that it was read."""
        now = time.monotonic()
        with self._changed:
            blame = self._owned(blame) if self._owners else blame
            pause = self._blames.pause(blame, now)
            if self._child is None:
                return self._fault
            if pause:
                return f"left out for {pause:.0f} s more, since {self._blames.last} held a read up"
            return "the kernel did not give it in time"

    def blame(self, pid: int, uid: int, namespace: int) -> Blame:
        """Say who stands behind a read of a process."""
        return Blame(pid, uid, 0 if namespace == self._own_namespace else namespace)

    def _await(self, serial: int) -> Answer | None:
        """Wait for an answer: as the budget allows, and a while longer if the child works at it."""
        began, waited, pause = time.monotonic(), 0.0, FIRST_S
        while (answer := self._answers.pop(serial, None)) is None:
            child = self._child
            # of an earlier child, or not sent at all
            if child is None or serial not in child.memory.outstanding:
                return None
            if self._take(child):
                continue
            if child.memory.ended:
                return None
            now = time.monotonic()
            works = False
            if waited:
                works = now - began < PATIENT_S and child.is_at_work(child.memory)
                pause = SLICE_S if works else min(SLICE_S, self._budget.left(now), ONE_S - waited)
            if pause <= 0:
                os.eventfd_write(self._bell, 1)
                return None
            if not child.memory.wait(pause) and not works:
                passed = time.monotonic() - now
                waited += passed
                self._budget.spend(passed)
        return answer

    def _take(self, child: Child) -> bool:
        """Take in the next that the child has said of processes' memory, if there is anything."""
        answers = child.memory.receive(1)
        if child.memory.slow:
            self._note_slow(child.memory)
        for answer in answers:
            if answer.serial:
                self._answers[answer.serial] = answer
        for serial in list(self._answers)[:-MAX_KEPT] if len(self._answers) > MAX_KEPT else ():
            del self._answers[serial]
        if child.memory.ended:
            os.eventfd_write(self._bell, 1)
        return bool(answers)

    # files of language agents

    def send(self, word: str, *numbers: int, text: bytes = b"", look: Look | None = None) -> int:
        """Send a request about a directory; return its serial, 0 where it cannot be sent.

        Nor is it where who stands behind it is left out.

        Args:
            word: which; see `wire`.
            numbers: what follows the serial.
            text: its bytes.
            look: what it asks for, where an answer comes; None: none does.
        """
        with self._changed:
            child = self._child
            if child is None:
                return 0
            if look is None:
                return int(child.files.send(pack(word, *numbers, text=text), {}))
            blame = self._owned(look.blame) if self._owners else look.blame
            if self._blames.pause(blame, time.monotonic()):
                return 0
            serial, quiet = next(self._serials), not child.files.outstanding
            sent = child.files.send(pack(word, serial, *numbers, text=text), {serial: look})
        if quiet:
            os.eventfd_write(self._bell, 1)
        return serial if sent else 0

    def wait(self, serial: int) -> None:
        """Wait until a request of `send` is answered, as the budget allows."""
        began = time.monotonic()
        with self._changed:
            ready = self._child is not None and self._child.files.ready
            left = self._budget.left(began) if ready else PATIENT_S
            self._changed.wait_for(
                lambda: not self._child or serial not in self._child.files.outstanding, left
            )
        if ready:
            self._budget.spend(time.monotonic() - began)

    def received(self) -> list[Answer | Lost]:
        """Take what came for requests of `send`."""
        with self._changed:
            inbox, self._inbox, self._told = self._inbox, [], False
            return inbox
