"""A process whose memory cannot be read for a while is not taken for another one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from kernel_model import Kernel, ModelReader
from test_census_model import PodsJudge

from rover.discovery.census import Census
from rover.model import Process, Reason
from rover.table import Table

LATE = "the kernel did not give it in time"


class LateReader(ModelReader):
    """Gives no arguments while it is told so."""

    late = False

    def read(self, pid: int, _known: int | None = None) -> Process | None:
        process = super().read(pid)
        return replace(process, arguments=b"", late=LATE) if process and self.late else process


@pytest.fixture
def kernel() -> Kernel:
    return Kernel(group_dead=True, pending=10, tracked=10, ring=10)


@pytest.fixture
def reader(kernel: Kernel) -> LateReader:
    return LateReader(kernel)


@pytest.fixture
def census(reader: LateReader) -> Census:
    return Census(table=Table(), reader=reader, judge=PodsJudge(), probes=None, settle_time=0.0)


def known(census: Census, pid: int) -> tuple[str, Reason]:
    row = census.table.get(pid)
    assert row is not None
    return row.process.command_line, row.verdict.reason


def test_one_that_was_read_before_keeps_its_arguments_and_its_name(kernel, reader, census):
    kernel.fork(1, "a", "")
    (pid,) = [pid for pid in kernel.tasks if pid != 1]
    census._admit(pid)
    reader.late = True
    census._admit(pid)
    assert known(census, pid) == ("a", Reason.REPORTED)
    assert census.late == 1, "it is read again all the same"


def test_one_that_has_become_another_program_is_waited_for(kernel, reader, census):
    kernel.fork(1, "a", "")
    (pid,) = [pid for pid in kernel.tasks if pid != 1]
    census._admit(pid)
    kernel.execve(kernel.tasks[pid], "b")
    reader.late = True
    census._admit(pid)
    assert known(census, pid) == ("", Reason.PENDING)
    reader.late = False
    census._admit(pid)
    assert known(census, pid) == ("b", Reason.REPORTED)
    assert census.late == 0
