"""The outbox keeps the newest word on each entity and stays as small as that."""

from __future__ import annotations

import threading
import time

from hypothesis import given
from hypothesis import strategies as st
from reports import announced, report, withdrawn

from rover.reporter.outbox import Outbox
from rover.reporter.roster import Roster


def pair():
    roster = Roster()
    return roster, Outbox(roster)


def test_what_comes_and_goes_before_it_is_taken_leaves_no_trace():
    roster, outbox = pair()
    outbox.put(announced(report(1)))
    outbox.put(withdrawn(report(1)))
    assert len(outbox) == 0
    outbox.empty_into_roster()
    assert not len(roster)


def test_of_several_words_on_an_entity_the_last_counts():
    _, outbox = pair()
    outbox.put(announced(report(1, pid=5)))
    outbox.put(announced(report(1, pid=6)))
    assert len(outbox) == 1
    outbox.empty_into_roster()
    (entry,) = outbox.entries()
    assert entry.report.process.pid == 6


def test_an_entity_that_the_session_knows_is_withdrawn_and_may_come_back():
    roster, outbox = pair()
    outbox.put(announced(report(1)))
    outbox.empty_into_roster()
    outbox.put(withdrawn(report(1)))
    outbox.empty_into_roster()
    assert not len(roster)
    outbox.put(announced(report(1)))
    outbox.empty_into_roster()
    assert len(roster) == 1


def test_entities_are_found_by_the_ids_that_the_backend_gave_them():
    roster, outbox = pair()
    outbox.put(announced(report(1), report(2), report(3)))
    outbox.empty_into_roster()
    first, second, _ = roster.entries.values()
    first.process_id, second.process_id = "ab" * 32, "no hash"
    found = outbox.entities_of(["ab" * 32, "no hash", "cd" * 32, ""])
    assert found == {"ab" * 32: first.key, "no hash": second.key}


@given(st.lists(st.tuples(st.sampled_from("apt"), st.integers(0, 9), st.integers(1, 5))))
def test_the_roster_ends_up_with_what_was_published_whenever_it_is_taken(words):
    roster, outbox = pair()
    alive = {}
    for word, number, pid in words:
        if word == "t":
            outbox.empty_into_roster()
        elif word == "a":
            alive[number] = pid
            outbox.put(announced(report(number, pid=pid)))
        else:
            alive.pop(number, None)
            outbox.put(withdrawn(report(number)))
        assert len(outbox) <= len(alive) + len(roster)
    outbox.empty_into_roster()
    held = {entry.report.entity.process: entry.report.process.pid for entry in outbox.entries()}
    assert held == {f"worker-{number}": pid for number, pid in alive.items()}
    assert set(roster.due) <= set(roster.entries)


def test_a_change_ends_a_wait_for_changes_and_no_other():
    _, outbox = pair()
    threading.Timer(0.05, outbox.put, [announced(report(1))]).start()
    began = time.monotonic()
    outbox.wait(0.2, for_changes=False)
    assert time.monotonic() - began >= 0.2
    outbox.wait(60, for_changes=True)


def test_what_is_only_gone_ends_no_wait():
    roster, outbox = pair()
    outbox.put(announced(report(1)))
    outbox.empty_into_roster()
    gone = threading.Timer(0.05, outbox.put, [withdrawn(report(1))])
    gone.start()
    began = time.monotonic()
    outbox.wait(0.2, for_changes=True)
    assert time.monotonic() - began >= 0.2
    gone.join()
    outbox.empty_into_roster()
    assert not len(roster)


def test_a_nudge_ends_every_wait_also_the_next():
    _, outbox = pair()
    outbox.nudge()
    outbox.wait(60, for_changes=False)
    threading.Timer(0.05, outbox.nudge).start()
    outbox.wait(60, for_changes=False)


def test_an_entity_that_brings_out_a_defect_hurts_no_other():
    roster, outbox = pair()
    put, bad = roster.put, report(1)

    def poisoned(each):
        if each == bad:
            raise RecursionError
        put(each)

    roster.put = poisoned
    outbox.put(announced(bad, report(2)))
    outbox.empty_into_roster()
    assert len(roster) == 1
