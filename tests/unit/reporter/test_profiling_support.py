"""What the backend is told of whether a process can be profiled; its first word is for ever."""

from __future__ import annotations

from reports import Rig, report

from rover.errors import RoverError
from rover.reporter.roster import Roster


def rig_with(supports):
    rig = Rig()
    rig.asked = []

    def asking(processes):
        rig.asked += [process.pid for process in processes]
        return [supports(process) for process in processes]

    rig.roster._supports = asking
    return rig


def told(rig):
    return {row.pid: row.supports_profiling for row in rig.state.snapshot().processes}


def test_it_is_said_from_the_first_report_on_and_in_every_beat():
    rig = rig_with(lambda process: process.pid % 2 == 1)
    rig.start(report(1, pid=11), report(2, pid=12))
    rig.run(60)
    assert told(rig) == {11: True, 12: False}
    rows = {row.pid: row.properties for row in rig.state.snapshot().processes}
    assert rows[11]["support_ebpf_profiling"] == "true"
    assert rows[12]["support_ebpf_profiling"] == "false"


def test_a_process_is_looked_at_once_however_often_it_is_reported():
    rig = rig_with(lambda _process: True)
    rig.start(report(1, pid=11))
    rig.run(1000)
    assert rig.asked == [11]


def test_another_leader_is_looked_at_again():
    rig = rig_with(lambda _process: True)
    rig.start(report(1, pid=11))
    rig.run(30)
    rig.start(report(1, pid=12))
    rig.run(30)
    assert rig.asked == [11, 12]


def test_where_it_cannot_be_known_it_is_said_to_be_so():
    def fails(_process):
        raise RoverError("no answer")

    rig = rig_with(fails)
    rig.start(report(1, pid=11))
    rig.run(60)
    assert told(rig) == {11: True}
    assert rig.visible() == {11}


def test_a_defect_that_one_process_brings_out_is_its_own():
    def fails(process):
        if process.pid == 12:
            raise RecursionError
        return False

    rig = rig_with(fails)
    rig.start(*(report(number, pid=10 + number) for number in range(1, 6)))
    rig.run(60)
    assert told(rig) == {11: False, 12: True, 13: False, 14: False, 15: False}
    rows = {row.pid: row.properties for row in rig.state.snapshot().processes}
    assert rows[12]["support_ebpf_profiling"] == "true"


def test_an_agent_that_cannot_profile_says_no():
    roster = Roster()
    roster.put(report(1))
    (entry,) = roster.entries.values()
    roster.look([entry])
    assert entry.supported is False
