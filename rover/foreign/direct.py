"""What a reader of processes asks, and an answer without a child: for tools that may wait."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Protocol

from rover.foreign.blame import Blame
from rover.foreign.records import Found
from rover.foreign.strings import strings_of

if TYPE_CHECKING:
    from collections.abc import Sequence


class Strings(Protocol):
    """Reads what lies in processes' own memory; `rover.foreign.reads` has the one of agents."""

    def ask(self, threads: Sequence[Blame], limit: int, *, with_place: bool) -> list[int]:
        """Ask for threads' command lines and places; return a serial for each."""

    def answer(self, serial: int) -> Found | None:
        """Return what was found, None where it did not come in time."""

    def why_late(self, blame: Blame) -> str:
        """Say why not."""

    def blame(self, pid: int, uid: int, namespace: int) -> Blame:
        """Say who stands behind a read of a process."""


class DirectReads:
    """Reads in this process what lies in others' memory: for tools that may wait."""

    def __init__(self, proc: str) -> None:
        self._proc = proc
        self._serials = itertools.count(1)
        self._asked: dict[int, Found] = {}

    def ask(self, threads: Sequence[Blame], limit: int, *, with_place: bool) -> list[int]:
        """Read at once."""
        serials = []
        for blame in threads:
            found = strings_of(self._proc, blame.pid, limit, with_place=with_place)
            serial = next(self._serials)
            self._asked[serial] = Found(
                found.command_line,
                found.command_line_errno,
                found.place_errno,
                found.root.mount,
                found.root.inode,
                found.tmpdir,
                found.tail,
            )
            serials.append(serial)
        return serials

    def answer(self, serial: int) -> Found | None:
        """Give what was read."""
        return self._asked.pop(serial, None)

    @staticmethod
    def why_late(blame: Blame) -> str:
        """Say that it never is."""
        return f"not asked for {blame}"

    @staticmethod
    def blame(pid: int, uid: int, namespace: int) -> Blame:
        """Put the facts together."""
        return Blame(pid, uid, namespace)
