"""Judges processes again once the user database has said what their users are called."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rover.model import Process, ProcessKey, Verdict
    from rover.naming.judge import Judge, PodProcesses
    from rover.naming.trail import Trail
    from rover.naming.user_names import UserNames


class UserNews:
    """A message: the user database has answered."""


class UserJudge:
    """A `rover.naming.judge.Judge` around another, whose templates ask for users' names."""

    def __init__(self, judge: Judge, users: UserNames) -> None:
        """Put the two together.

        Args:
            judge: decides.
            users: the names that it asks for.
        """
        self._judge = judge
        self._users = users

    def judge(self, process: Process) -> Verdict:
        """Decide what a process is called; say so where the number stands for its user's name."""
        self._users.forget(process.key)  # it may be another user's now
        verdict = self._judge.judge(process)
        obstacle = self._users.obstacle(process.key)
        if not obstacle or not verdict.reports:
            return verdict
        return replace(verdict, detail="; ".join(filter(None, (verdict.detail, obstacle))))

    def trace(self, process: Process, trail: Trail) -> None:
        """Write down the way that a process takes."""
        self._judge.trace(process, trail)

    def pod(self, namespace: str, name: str) -> PodProcesses | None:
        """Tell what the processes of a pod are known by; None where no such pod is known."""
        return self._judge.pod(namespace, name)

    def forget(self, key: ProcessKey) -> None:
        """Drop a process that has ended."""
        self._users.forget(key)
        self._judge.forget(key)

    def apply(self, message: object) -> Iterable[ProcessKey]:
        """Take in a user's name, or leave the message to the other judge."""
        if isinstance(message, UserNews):
            return self._users.changed()
        return self._judge.apply(message)

    def refresh(self, now: float) -> Iterable[ProcessKey]:
        """Return whose user's name came or is not waited for any more, else what the other gives.

        It is asked at the next turn then: where it fails, names come all the same.
        """
        changed = self._users.changed()
        if changed or now < self._judge.next_refresh(now):
            return changed
        return self._judge.refresh(now)

    def next_refresh(self, now: float) -> float:
        """Return the time.monotonic() of the next look of either."""
        return min(self._users.next_change(now), self._judge.next_refresh(now))

    def figures(self) -> Mapping[str, Mapping[str, int]]:
        """Return how many users are known and asked for, beside what the other judge counts."""
        return {"user_names": self._users.figures, **self._judge.figures()}
