"""A process may be renamed, but not all the time."""

from __future__ import annotations

from dataclasses import replace

from rover.discovery.renaming import Names, differences
from rover.flapping import AT_ONCE, PAUSES
from rover.model import Entity, Process, ProcessKey, Reason, Report, Verdict
from rover.table import Table

PROCESS = Process(ProcessKey(10, 1), 1, b"run", "/run", "run", "/", 0, "0::/", 1, 1, 10, 1)


def called(process: Process, name: str) -> Verdict:
    return Verdict((Report(Entity("OS_LINUX", "service", "host", name), process),), detail=name)


def name_of(verdict: Verdict) -> str:
    return verdict.reports[0].entity.process


def renamed(names: Names, process: Process, changes: int) -> Verdict:
    """Have a process change between two names once a second; return what it is called then."""
    verdict = called(process, "a")
    for number in range(changes):
        verdict = names.steady(process, verdict, called(process, "ba"[number % 2]), float(number))
    return verdict


def test_a_daemon_that_settles_takes_each_name_at_once():
    assert name_of(renamed(Names(), PROCESS, AT_ONCE)) == "a"
    assert name_of(renamed(Names(), PROCESS, AT_ONCE - 1)) == "b"


def test_one_that_flaps_between_two_names_keeps_the_one_it_has_with_its_facts_of_now():
    names = Names()
    before = renamed(names, PROCESS, AT_ONCE)
    now = replace(PROCESS, arguments=b"other")
    verdict = names.steady(now, before, called(now, "b"), AT_ONCE)
    assert name_of(verdict) == "a"
    assert verdict.reports[0].process == now
    assert names.times_held == 1
    until = AT_ONCE - 1 + PAUSES[0]
    assert names.next_due() == until
    assert list(names.due(until)) == [PROCESS.key]
    assert name_of(names.steady(now, verdict, called(now, "b"), until)) == "b"


def test_a_name_that_is_again_as_it_was_waits_no_longer():
    names = Names()
    before = renamed(names, PROCESS, AT_ONCE + 1)
    names.steady(PROCESS, before, before, AT_ONCE + 1)
    assert names.next_due() is None


def test_a_process_that_an_ignore_rule_flaps_about_is_damped_as_well():
    names, ignored = Names(), Verdict(reason=Reason.IGNORED)
    verdict = ignored
    for number in range(AT_ONCE):
        wanted = ignored if number % 2 else called(PROCESS, "a")
        verdict = names.steady(PROCESS, verdict, wanted, float(number))
    assert verdict == ignored
    assert names.steady(PROCESS, verdict, called(PROCESS, "a"), 5.0) == ignored


def test_one_that_is_shown_for_a_defect_gets_its_name_as_soon_as_it_is_over():
    names, defect = Names(), Verdict(reason=Reason.DEFECT)
    renamed(names, PROCESS, AT_ONCE + 1)
    assert name_of(names.steady(PROCESS, defect, called(PROCESS, "a"), AT_ONCE)) == "a"


def test_the_story_of_a_process_tells_what_waits_and_for_how_long():
    names, table = Names(), Table()
    verdict = renamed(names, PROCESS, AT_ONCE + 1)
    table.put(PROCESS, verdict)
    why = table.why(10)
    assert why is not None
    told = names.explain(why, table, AT_ONCE).detail
    assert told == "a; its names change too often, the newest is taken in 59 s"
    names.forget(PROCESS.key)
    assert names.explain(why, table, AT_ONCE) == why


def test_each_fact_that_differs_is_named():
    changed = replace(PROCESS, uid=1, name="x", mount_namespace=2, image=9)
    assert differences(PROCESS, changed) == ["name", "user", "namespace"]
    assert differences(PROCESS, PROCESS) == []
