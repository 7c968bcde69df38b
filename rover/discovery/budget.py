"""What all processes together may make the agent keep, and what becomes of those beyond it.

One process is bounded by `rover.discovery.bounds`; a user may have many. When half of the budget is
one user's, or all of it is used, texts of further processes of that user, or of all, are cut to
little. They are named by what is left and reported all the same.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from rover.discovery.bounds import bounded, bounded_text
from rover.discovery.procfs_text import DEFAULT_TMPDIR

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rover.model import Process
    from rover.table import Row

BUDGET: Final = 16 * 1_048_576
"""Bytes: of 10,000 ordinary processes a third, of hostile ones what 1,400 take at most."""
SHORT_ARGUMENTS: Final = 512
"""Bytes of a command line beyond the budget."""
SHORT_PATH: Final = 512
"""Bytes of memory of a path beyond the budget."""
SHORT: Final = (
    f"its texts are cut short, its command line to {SHORT_ARGUMENTS} bytes: the budget for what"
    " processes choose is used up"
)


class Budget:
    """Counts what is kept; of one thread.

    What processes share counts for each of them, so the sum is an upper bound.
    """

    def __init__(self, limit: int = BUDGET) -> None:
        self._limit = limit
        self._kept: Counter[str] = Counter()
        self._share = limit // 2
        """Bytes that one user may take, and that all of his count for at most."""
        self._of_users: Counter[int] = Counter()
        self._used = 0
        self.shortened = 0
        """How many processes were cut short so far."""

    @property
    def kept(self) -> Mapping[str, int]:
        """Bytes kept now, by kind."""
        return {"limit": self._limit, **self._kept}

    def fitted(self, process: Process) -> Process:
        """Return a process that is to be kept, cut short where the budget asks for it."""
        room = sum(_texts(process).values())
        of_user = self._of_users[process.uid] + room
        if self._used + room <= self._limit and of_user <= self._share:
            return process
        self.shortened += 1
        redacted, place = process.redacted, process.place
        return replace(
            process,
            place=place and place._replace(tmpdir=place.tmpdir and DEFAULT_TMPDIR),
            exe=bounded_text(process.exe, SHORT_PATH),
            arguments=bounded(process.arguments, SHORT_ARGUMENTS),
            redacted=None if redacted is None else bounded(redacted, SHORT_ARGUMENTS),
            cwd=bounded_text(process.cwd, SHORT_PATH),
            shortened=True,
        )

    def add(self, row: Row) -> None:
        """Count a row that the table has taken."""
        self._count(row, 1)

    def remove(self, row: Row) -> None:
        """Count a row no longer."""
        self._count(row, -1)

    def recount(self, rows: Iterable[Row]) -> None:
        """Count these rows and no others, where a step may have been left half done."""
        self._kept.clear()
        self._of_users.clear()
        self._used = 0
        for row in rows:
            self.add(row)

    def _count(self, row: Row, sign: int) -> None:
        kinds = {**_texts(row.process), "names": _names(row)}
        for kind, size in kinds.items():
            self._kept[kind] += sign * size
        user = row.process.uid
        before = self._of_users[user]
        self._of_users[user] += sign * sum(kinds.values())
        self._used += min(self._of_users[user], self._share) - min(before, self._share)
        if not self._of_users[user]:
            del self._of_users[user]


def _texts(process: Process) -> dict[str, int]:
    size = sys.getsizeof
    redacted = process.redacted
    return {
        "command_line": size(process.arguments) + (0 if redacted is None else size(redacted)),
        "paths": size(process.exe) + size(process.cwd),
        "cgroup": size(process.cgroup),
        "tmpdir": size(process.place.tmpdir) if process.place else 0,
    }


def _names(row: Row) -> int:
    size = sys.getsizeof
    verdict = row.verdict
    return size(verdict.detail) + sum(
        size(text)
        for report in verdict.reports
        for text in (
            *(report.entity.layer, report.entity.service, report.entity.instance),
            *(report.entity.process, *report.entity.labels),
            *(one for pair in report.properties for one in pair),
        )
    )
