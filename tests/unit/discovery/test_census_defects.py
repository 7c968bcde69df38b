"""Whatever fails for one process, and when: the others are known, and it is shown so.

The model of `test_census_model` with defects: a judge that fails on some processes for ever, and
reads, verdicts and changes of the table that fail for a while and leave things half done.
"""

from __future__ import annotations

import logging

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule
from kernel_model import ModelReader
from test_census_model import SETTINGS, CensusMachine, PodsJudge

from rover.model import EntityKey, Process, ProcessKey, Reason, Verdict
from rover.table import Table

POISON = "c"
"""A process that bears this letter brings out a defect in the judge."""


class Faulty:
    """Fails so many times to come."""

    faults = 0

    def due(self) -> bool:
        self.faults -= self.faults > 0
        return self.faults > 0


class PoisonedJudge(PodsJudge):
    def __init__(self) -> None:
        super().__init__()
        self.forgetting = Faulty()

    def judge(self, process: Process) -> Verdict:
        if POISON in process.command_line:
            raise RecursionError("maximum recursion depth exceeded")
        return super().judge(process)

    def forget(self, key: ProcessKey) -> None:
        super().forget(key)
        if self.forgetting.due():
            raise KeyError(key)


class TornTable(Table):
    """Fails after half of what it was to do."""

    def __init__(self) -> None:
        super().__init__()
        self.tearing = Faulty()

    def put(self, process: Process, verdict: Verdict) -> None:
        super().put(process, verdict)
        if self.tearing.due():
            del self._rows[process.pid]
            raise MemoryError

    def remove(self, pid: int) -> Process | None:
        if pid in self._rows and self.tearing.due():
            del self._rows[pid]
            raise MemoryError
        return super().remove(pid)


class FaultyReader(ModelReader):
    def __init__(self, kernel: object) -> None:
        super().__init__(kernel)
        self.reading = Faulty()

    def read(self, pid: int, _known: int | None = None) -> Process | None:
        if self.reading.due():
            raise MemoryError
        return super().read(pid)

    def stat(self, pid: int) -> object:
        if self.reading.due():
            raise ValueError("not a stat line")
        return super().stat(pid)


class CensusWithDefects(CensusMachine):
    """A census whose parts fail."""

    make_judge = PoisonedJudge
    make_table = TornTable
    make_reader = FaultyReader

    @rule(times=st.integers(1, 4))
    def reads_fail(self, times: int) -> None:
        self.reader.reading.faults = times

    @rule(times=st.integers(1, 4))
    def the_table_tears(self, times: int) -> None:
        self.table.tearing.faults = times

    @rule(times=st.integers(1, 4))
    def forgetting_fails(self, times: int) -> None:
        self.judge.forgetting.faults = times

    def turn(self) -> None:
        super().turn()
        if self.census.lost_something():
            # what the loop does a second later
            self.kernel.elapse(1.0)
            self.census.reconcile()
            self.tell()

    def compare(self) -> None:
        for faulty in (self.reader.reading, self.table.tearing, self.judge.forgetting):
            faulty.faults = 0
        for _ in range(3):
            self.kernel.elapse(1.0)
            self.census.doubt_all()
            self.census.reconcile()
            self.tell()
        self.compare_budget()
        living = {task.pid: task for task in self.kernel.tasks.values() if not task.ended}
        rows = {row.process.pid: row for row in self.census.table}
        assert {pid: row.process.command_line for pid, row in rows.items()} == {
            pid: task.names for pid, task in living.items()
        }
        leaders: dict[EntityKey, ProcessKey] = {}
        for row in sorted(rows.values(), key=lambda row: (row.process.key.start_ticks, row[0].pid)):
            poisoned = POISON in row.process.command_line
            assert (row.verdict.reason is Reason.DEFECT) == poisoned
            for report in () if poisoned else self.judge.judge(row.process).reports:
                leaders.setdefault(report.entity.key, row.process.key)
        told = {key: report.process.key for key, report in self.backend.items()}
        assert told == leaders

    @invariant()
    def each_entity_has_one_leader(self) -> None:
        """Hold at each `compare` alone: in between a defect may have left the table torn."""

    @invariant()
    def nothing_is_repaired_where_nothing_was_lost(self) -> None:
        """Hold no longer: a defect is what repairs are for."""


@pytest.fixture(autouse=True, scope="module")
def _quiet():
    logging.getLogger("rover").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("rover").setLevel(logging.NOTSET)


TestCensusWithDefects = CensusWithDefects.TestCase
TestCensusWithDefects.settings = hypothesis.settings(SETTINGS, max_examples=100)
