"""Names of users, asked of the user database by a thread that alone waits for it.

Behind the C library's question may stand LDAP, SSSD or winbind (nsswitch.conf(5)). Where their
server is away an answer takes tens of seconds, or never comes.
"""

from __future__ import annotations

import logging
import pwd
import queue
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rover.guard import Defect, Guard
from rover.waiting import ONE_S, Budget

if TYPE_CHECKING:
    from collections.abc import Callable

    from rover.model import ProcessKey

log = logging.getLogger("rover.discovery")

KEPT_S: Final = 60.0
"""Seconds for which a user's name, or that there is none, is taken from memory alone."""
PATIENCE_S: Final = 3.0
"""Seconds without any answer after which processes are named by the number; until then they wait,
for each would be reported under another name first."""
LONGEST_S: Final = 15.0
"""Seconds after which they are in any case."""
TOLD_EVERY_S: Final = 600.0
"""Seconds between two words in the log that the user database does not answer, at least."""
MAX_KNOWN: Final = 1_024
MAX_ASKED: Final = 1_024
"""Users that are asked for at once; processes of more are named by the number."""
NEVER_S: Final = 3_600.0


@dataclass(frozen=True, slots=True)
class _Known:
    name: str
    at: float
    """When the user database said so; of the clock, as all times here."""


@dataclass(slots=True)
class _Asked:
    at: float
    given_up: bool = False
    """The number stands for the name until it comes."""


class UserNames:
    """What the users that processes run as are called; one thread uses it, beside its own."""

    def __init__(
        self,
        look_up: Callable[[int], str | None] | None = None,
        *,
        guard: Guard | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask nothing yet; the thread begins with the first question.

        Args:
            look_up: asks the user database, and may wait without end; None: it has no such user.
            guard: runs that, so that a defect costs one name alone.
            clock: seconds that only grow.
        """
        self._look_up = look_up or name_of_user
        self._guard = guard or Guard()
        self._clock = clock
        self._tell: Callable[[], object] = lambda: None
        self._thread: threading.Thread | None = None
        self._questions: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[int, str | None]] = queue.SimpleQueue()
        self._known: dict[int, _Known] = {}
        self._asked: dict[int, _Asked] = {}
        self._waiting: dict[ProcessKey, int] = {}
        """Processes without a name, or named by what may be old, with their users."""
        self._changed: set[ProcessKey] = set()
        self._budget = Budget(clock())
        self._stuck = False
        self._answered_at = 0.0
        self._told_at = -TOLD_EVERY_S

    def listen(self, tell: Callable[[], object]) -> None:
        """Have somebody told of each answer, by the thread that asks."""
        self._tell = tell

    def close(self) -> None:
        """Let the thread end once it has its answer; nobody waits for that."""
        self._questions.put(None)

    @property
    def figures(self) -> dict[str, int]:
        """Count users whose name is known, is asked for, or is not said in time."""
        given_up = sum(each.given_up for each in self._asked.values())
        return {"known": len(self._known), "asked": len(self._asked), "late": given_up}

    def name(self, uid: int, key: ProcessKey) -> str | None:
        """Return the name of a process's user, or the number where there is none.

        None means that it is being asked for: `changed` will have the process. It will also where
        the number or an earlier name is returned because the user database does not answer.
        """
        self._take()
        now = self._clock()
        known = self._known.get(uid)
        if known and now - known.at < KEPT_S:
            return known.name
        asked = self._asked.get(uid) or self._ask(uid, now)
        if asked is None:
            return known.name if known else str(uid)
        if self._await(uid):
            return self._known[uid].name
        self._waiting[key] = uid
        if known:
            return known.name
        return str(uid) if asked.given_up else None

    def obstacle(self, key: ProcessKey) -> str:
        """Say why a process's user goes by the number, "" where an answer says so."""
        uid = self._waiting.get(key)
        asked = self._asked.get(uid) if uid is not None and uid not in self._known else None
        return f"the user database has not said who uid {uid} is" if asked else ""

    def forget(self, key: ProcessKey) -> None:
        """Drop a process that has ended, or is judged anew."""
        self._waiting.pop(key, None)
        self._changed.discard(key)

    def changed(self) -> set[ProcessKey]:
        """Return the processes to judge again: their user's name came, or is not waited for."""
        self._take()
        now = self._clock()
        late = {uid for uid, each in self._asked.items() if self._until(each) <= now}
        if late:
            for uid in late:
                self._asked[uid].given_up = True
            self._changed.update(key for key, uid in self._waiting.items() if uid in late)
            self._say_late(min(late), now)
        changed, self._changed = self._changed, set()
        return changed

    def next_change(self, now: float) -> float:
        """Return when `changed` has something to tell, at the latest.

        Args:
            now: of the clock.
        """
        if self._changed or not self._answers.empty():
            return now
        return min([now + NEVER_S, *map(self._until, self._asked.values())])

    def _until(self, asked: _Asked) -> float:
        """Return until when an answer is waited for: longer where others come meanwhile."""
        if asked.given_up:
            return float("inf")
        return min(max(asked.at, self._answered_at) + PATIENCE_S, asked.at + LONGEST_S)

    def _ask(self, uid: int, now: float) -> _Asked | None:
        """Have a user's name asked for; None where that cannot be."""
        if len(self._asked) >= MAX_ASKED:
            return None
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="user-names", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no more threads are allowed now
                return None
            self._thread = thread
        asked = self._asked[uid] = _Asked(now)
        self._questions.put(uid)
        return asked

    def _await(self, uid: int) -> bool:
        """Wait for an answer within the budget; tell whether it came."""
        began = time.monotonic()
        left = 0.0 if self._stuck else self._budget.left(began)
        while uid in self._asked:
            rest = began + left - time.monotonic()
            if rest <= 0:
                self._stuck = self._stuck or left >= ONE_S
                break
            try:
                self._note(*self._answers.get(timeout=rest))
            except queue.Empty:
                continue
        self._budget.spend(time.monotonic() - began)
        return uid not in self._asked

    def _take(self) -> None:
        """Take in the answers that are there."""
        for _ in range(self._answers.qsize()):
            self._note(*self._answers.get_nowait())

    def _note(self, uid: int, name: str | None) -> None:
        self._stuck = False
        self._answered_at = now = self._clock()
        self._asked.pop(uid, None)
        before = self._known.pop(uid, None)
        # where the database's server is away, it may say that there is no such user
        said = name or (before.name if before else str(uid))
        if len(self._known) >= MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[uid] = _Known(said, now)
        waited = [key for key, each in self._waiting.items() if each == uid]
        for key in waited:
            del self._waiting[key]
        if before is None or before.name != said:
            self._changed.update(waited)

    def _say_late(self, uid: int, now: float) -> None:
        if now - self._told_at < TOLD_EVERY_S:
            return
        self._told_at = now
        log.warning(
            "the user database does not say who uid %d is: processes of users that it has not "
            "named are reported with the number, and again when it does; look whether "
            "`getent passwd %d` answers, and at the server behind LDAP, SSSD or winbind",
            uid,
            uid,
        )

    def _run(self) -> None:
        while (uid := self._questions.get()) is not None:
            name = self._guard.one("user name", f"uid={uid}", self._look_up, uid)
            self._answers.put((uid, None if isinstance(name, Defect) else name))
            self._tell()


def name_of_user(uid: int) -> str | None:
    """Ask the user database of this host; None: it has no such user."""
    try:
        name = pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return None
    # undecodable bytes are kept as lone surrogates, which are no UTF-8
    return name.encode(errors="surrogateescape").decode(errors="replace")
