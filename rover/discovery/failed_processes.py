"""Processes that a step failed for: the others go on, and they are shown with what failed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rover.discovery.procfs_text import KernelThread
from rover.guard import Defect
from rover.model import ProcessKey, Reason, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ParamSpec

    from rover.discovery.procfs import ProcReader
    from rover.guard import Guard
    from rover.table import Table

    P = ParamSpec("P")


class FailedProcesses:
    """Those since the table was mended last; of the discovery thread."""

    def __init__(self, guard: Guard, table: Table, reader: ProcReader) -> None:
        """Begin with none.

        Args:
            guard: runs the steps.
            table: is mended.
            reader: tells what little is to be shown of a process that nothing else is known of.
        """
        self._guard = guard
        self._table = table
        self._reader = reader
        self._failed: dict[int, Defect] = {}

    def runs(
        self, where: str, pid: int, step: Callable[P, object], *args: P.args, **kwargs: P.kwargs
    ) -> bool:
        """Do something about one process; tell whether it went well."""
        done = self._guard.one(where, f"pid={pid}", step, *args, **kwargs)
        if isinstance(done, Defect):
            self._failed[pid] = done
            return False
        return True

    @property
    def some(self) -> bool:
        """Whether there are any."""
        return bool(self._failed)

    def mend(self) -> bool:
        """Put each row in anew, as a step may have been left half done, and show what failed.

        Returns:
            Whether all went well; if not, there is something left to mend.
        """
        failed, self._failed = self._failed, {}
        for row in self._table.take_out_all():
            self.runs("table", row.process.pid, self._table.put, *row)
        for pid, defect in failed.items():
            # of what cannot even be shown, nothing must be left behind half done
            if defect.where != "show":
                self.runs("show", pid, self._show, pid, defect)
        return not self._failed

    def _show(self, pid: int, defect: Defect) -> None:
        stat = self._reader.stat(pid)
        if stat is None or stat.ended or stat.kernel_thread:
            return
        row = self._table.get(pid)
        if row is None or row.process.key.start_ticks != stat.start_ticks:
            key = ProcessKey(pid, stat.start_ticks)
            bare = KernelThread(key, stat.ppid, stat.name).as_process()
            process = replace(bare, image=stat.image)
        else:
            process = row.process
        self._table.put(process, Verdict(reason=Reason.DEFECT, detail=defect.what))
