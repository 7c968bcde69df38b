"""Ask who owns a pod's owners: a ReplicaSet's Deployment, a Job's CronJob.

Only templates that name an owner need this, so a question comes up while a pod is judged and is
answered later, by a message. One thread asks, and only once it is asked something.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from rover.guard import Defect, Guard
from rover.k8s.faults import STALE, ApiFault, Cause
from rover.k8s.objects import owner_refs
from rover.k8s.records import OwnersFound
from rover.k8s.watch import MAX_RETRY_AFTER

if TYPE_CHECKING:
    from collections.abc import Callable

    from rover.k8s.access import Access
    from rover.k8s.records import Message, OwnerRef

log = logging.getLogger("rover.k8s")

MAX_OPEN: Final = 1_024
"""Questions that are open at most; further ones are asked again when their pod is judged again."""
READ_TIMEOUT: Final = 10.0
_BACKOFF: Final = 1.0
_BACKOFF_MOST: Final = 120.0


@dataclass(slots=True)
class _Question:
    namespace: str
    owner: OwnerRef
    due: float = 0.0
    attempts: int = 0
    fault: str = ""


class OwnerResolver:
    """Answers `ask` by posting OwnersFound."""

    def __init__(
        self,
        access: Access,
        post: Callable[[Message], object],
        guard: Guard | None = None,
    ) -> None:
        """Prepare; the thread starts with the first question.

        Args:
            access: To the API, this thread's own.
            post: Takes an answer; False where it has no room for it. Called by the thread.
            guard: Runs each question, so that a defect costs that one alone.
        """
        self._guard = guard or Guard()
        self._access = access
        self._post = post
        self._open: dict[str, _Question] = {}
        self._random = random.Random()  # noqa: S311 - spreads load, keeps no secret
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self.dropped = 0
        """Questions refused for want of room."""

    def ask(self, namespace: str, owner: OwnerRef) -> None:
        """Have it found out who owns this owner; never waits. Any thread."""
        with self._changed:
            if self._stopping or owner.uid in self._open:
                return
            if len(self._open) >= MAX_OPEN:
                self.dropped += 1
                return
            self._open[owner.uid] = _Question(namespace, owner)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="k8s-owners", daemon=True)
                thread.start()  # where no more threads can be had, the next question tries again
                self._thread = thread
            self._changed.notify()

    def stop(self, timeout: float = 1.0) -> bool:
        """Post nothing more and end; False where the thread has not ended in time."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._access.close()
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (question := self._next()) is not None:
            owner = question.owner
            done = self._guard.one("owner", f"{owner.kind} {owner.name}", self._settle, question)
            if isinstance(done, Defect):
                self._put_off(question)

    def _settle(self, question: _Question) -> None:
        try:
            self._answer(question, self._owners_of(question), "")
        except ApiFault as fault:
            self._meet(question, fault)

    def _next(self) -> _Question | None:
        """Wait for the question that is due first; None when it is time to end."""
        with self._changed:
            while not self._stopping:
                question = min(self._open.values(), key=lambda each: each.due, default=None)
                rest = question.due - time.monotonic() if question else None
                if question and rest is not None and rest <= 0:
                    return question
                self._changed.wait(rest)
        return None

    def _owners_of(self, question: _Question) -> tuple[OwnerRef, ...]:
        owner = question.owner
        resource = plural(owner.kind)
        group = "/api" if "/" not in owner.api_version else "/apis"
        path = (
            f"{group}/{quote(owner.api_version)}/namespaces/{quote(question.namespace, safe='')}"
            f"/{quote(resource)}/{quote(owner.name, safe='')}"
        )
        what = f"get {resource}"
        try:
            with self._access.get(path, {}, read_timeout=READ_TIMEOUT, what=what) as answer:
                body = b"".join(answer.chunks(READ_TIMEOUT))
        except ApiFault as fault:
            if fault.cause is Cause.NOT_FOUND:
                return ()
            raise
        try:
            metadata = json.loads(body)["metadata"]
            # Another object may bear the name by now.
            return owner_refs(metadata) if metadata["uid"] == owner.uid else ()
        except (ValueError, RecursionError, TypeError, KeyError, AttributeError) as error:
            raise ApiFault(Cause.MALFORMED, f"{what}: no object: {error!r}") from error

    def _answer(self, question: _Question, owners: tuple[OwnerRef, ...], fault: str) -> None:
        """Post an answer; one that there is no room for is asked for again."""
        with self._changed:
            if self._stopping:
                return
        if self._post(OwnersFound(question.owner.uid, owners, fault)) is False:
            question.fault = ""
            self._put_off(question)
        elif not fault:
            with self._changed:
                del self._open[question.owner.uid]

    def _meet(self, question: _Question, fault: ApiFault) -> None:
        """Tell what is wrong where that is new, and try again later."""
        if fault.cause in STALE:
            try:
                self._access.renew()
            except ApiFault as unreadable:
                fault = unreadable
        self._put_off(question, min(fault.retry_after, MAX_RETRY_AFTER))
        if str(fault) != question.fault:
            question.fault = str(fault)
            owner = question.owner
            log.warning("owner unknown %s=%s: %s", owner.kind, owner.name, question.fault)
            self._answer(question, (), question.fault)

    def _put_off(self, question: _Question, least: float = 0.0) -> None:
        most = min(_BACKOFF_MOST, _BACKOFF * 2.0 ** min(question.attempts, 16))
        question.due = time.monotonic() + least + self._random.uniform(0.0, most)
        question.attempts += 1


def plural(kind: str) -> str:
    """Name the resource of a kind, as Kubernetes derives it for almost all: ``replicasets``."""
    name = kind.lower()
    if name.endswith(("s", "x", "ch", "sh")):
        return name + "es"
    if name.endswith("y") and name[-2:-1] not in set("aeiou"):
        return name[:-1] + "ies"
    return name + "s"
