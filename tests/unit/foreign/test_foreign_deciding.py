"""What is decided of foreign reads: how long to wait, whom to leave out, when to look again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.discovery.late import PATIENT_LOOKS, LateReads
from rover.foreign.blame import FORGIVEN_S, MANY, MANY_WITHIN_S, MAX_CULPRITS, Blame, Blames
from rover.foreign.wire import pack, unpack
from rover.model import ProcessKey
from rover.waiting import ALL_S, ONE_S, SHARE, Budget


@given(st.sampled_from(["strings", "file"]), st.lists(st.integers(-9, 2**40)), st.binary())
def test_what_is_packed_is_unpacked(word, numbers, text):
    assert unpack(pack(word, *numbers, text=text)) == (word, numbers, text)


@given(st.binary())
def test_whatever_comes_is_a_packet_or_a_value_error(packet):
    try:
        unpack(packet)
    except ValueError:
        return


def test_one_answer_may_take_a_little_and_all_together_a_little_more():
    budget = Budget(100.0)
    waited = 0.0
    while left := budget.left(100.0):
        assert left <= ONE_S
        budget.spend(left)
        waited += left
    assert waited == pytest.approx(ALL_S)
    assert budget.left(101.0) == pytest.approx(SHARE)
    assert budget.left(1_000.0) == ONE_S


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 0.05))))
def test_the_share_of_time_that_is_waited_is_bounded(steps):
    now, waited, budget = 0.0, 0.0, Budget(0.0)
    for passed, wanted in steps:
        now += passed
        spent = min(wanted, budget.left(now))
        budget.spend(spent)
        waited += spent
    assert waited <= ALL_S + SHARE * now + 1e-6


def test_one_process_is_left_out_for_longer_each_time_and_its_user_is_not():
    blames, pauses, now = Blames(), [], 0.0
    for _ in range(9):
        pauses.append(blames.strike(Blame(7, 1000), now))
        assert blames.pause(Blame(8, 1000), now) == 0
        now += pauses[-1] + MANY_WITHIN_S
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert blames.pause(Blame(7, 1000), now) == 0
    assert blames.strike(Blame(7, 1000), now + FORGIVEN_S) == 5


def test_a_user_of_whom_a_third_process_holds_reads_up_is_left_out_with_all():
    blames, pauses, now = Blames(), [], 0.0
    for pid in range(7):
        blames.strike(Blame(pid, 1000), now)
        pauses.append(blames.pause(Blame(999, 1000), now))
        now += pauses[-1] + MANY_WITHIN_S
    assert pauses == [0, 0, 5, 10, 20, 40, 80]


def test_others_are_read_on():
    blames = Blames()
    for pid in range(3):
        now = pid * MANY_WITHIN_S
        blames.strike(Blame(pid, 1000), now)
        blames.strike(Blame(10 + pid, 0, namespace=77), now)
    assert blames.pause(Blame(99, 1000), now) == 5
    assert blames.pause(Blame(99, 0, namespace=77), now) == 5
    assert blames.pause(Blame(99, 1001), now) == 0
    assert blames.pause(Blame(99, 0), now) == 0
    assert blames.pause(Blame(99, 0, namespace=78), now) == 0


def test_where_many_users_hold_reads_up_all_but_root_are_left_out():
    blames = Blames()
    for uid in range(1, MANY + 1):
        blames.strike(Blame(uid, uid), float(uid))
    assert blames.pause(Blame(99, 5555), 5.0) > 200
    assert blames.pause(Blame(99, 0), 5.0) == 0


def test_one_user_has_no_other_left_out_however_often_reads_are_held_up():
    blames = Blames()
    for number in range(50):
        blames.strike(Blame(7 + number % 5, 1000), float(number))
        blames.strike(Blame(100 + number, 0), float(number))
    assert blames.pause(Blame(99, 1001), 50.0) == 0
    assert blames.pause(Blame(99, 1000), 50.0) > 0


def test_reads_that_come_slowly_count_together_for_their_user_and_are_forgiven_with_time():
    blames, now = Blames(), 100.0
    assert not any(blames.slow(Blame(pid, 1000), 0.4, now) for pid in (7, 8))
    assert blames.slow(Blame(9, 1000), 0.4, now) > 0
    assert blames.pause(Blame(10, 1000), now) > 0
    assert not blames.pause(Blame(11, 1001), now)
    later = now + 1_000
    assert not blames.pause(Blame(10, 1000), later)
    assert not blames.slow(Blame(7, 1000), 0.2, later)


@given(st.lists(st.tuples(st.floats(0, 1_000), st.floats(0.02, 60)), max_size=60))
def test_between_two_pauses_slow_reads_take_a_small_share_of_the_time(steps):
    blames, now, free = Blames(), 0.0, 0.0
    for passed, slow in steps:
        now += passed
        if blames.pause(Blame(1, 1000), now):
            free = 0.0
            continue
        if not blames.slow(Blame(1, 1000), slow, now):
            free += slow
            assert free <= 1.0 + now * 0.02


def test_whose_reads_are_slow_is_never_left_out_for_long():
    blames, now = Blames(), 0.0
    for _ in range(20):
        now += (pause := blames.slow(Blame(7, 1000), 5.0, now))
        assert 0 < pause <= 60.0


def test_who_has_a_child_hang_is_left_out_until_it_is_gone_and_the_last_place_is_roots():
    blames, mine, other, root = Blames(), Blame(7, 1000), Blame(8, 1001), Blame(9, 0)
    contained = Blame(10, 0, 4_026_532_000)
    blames.hold([mine], last_place=False)
    assert blames.pause(Blame(11, 1000), 1e6) > 0
    assert not any(blames.pause(each, 1e6) for each in (other, root, contained))
    blames.hold([mine, Blame(12, 0)], last_place=True)
    assert all(blames.pause(each, 1e6) for each in (other, contained, Blame(12, 0)))
    assert not blames.pause(root, 1e6)
    blames.hold([], last_place=False)
    assert not any(blames.pause(each, 1e6) for each in (mine, other, root, contained))


def test_no_number_of_users_grows_it():
    blames = Blames()
    for uid in range(1, 3 * MAX_CULPRITS):
        blames.strike(Blame(1, uid), 0.0)
    assert len(blames._strikes) == MAX_CULPRITS


def test_a_late_process_is_looked_at_again_with_growing_pauses_and_waited_for_a_while():
    late, key, now = LateReads(), ProcessKey(7, 1), 100.0
    pauses, patient = [], []
    for _ in range(14):
        late.note(key, now)
        patient.append(late.is_patient(7))
        at = late.next_look()
        assert at is not None
        assert late.due(at - 0.001) == []
        assert late.due(at) == [7]
        pauses.append(round(at - now, 3))
        now = at
    assert pauses[:4] == [0.1, 0.2, 0.4, 0.8]
    assert pauses[-1] == 60
    assert patient == [True] * PATIENT_LOOKS + [False] * (14 - PATIENT_LOOKS)
    late.drop(7)
    assert (len(late), late.next_look()) == (0, None)


def test_a_reused_pid_begins_anew():
    late = LateReads()
    for _ in range(8):
        late.note(ProcessKey(7, 1), 0.0)
    late.note(ProcessKey(7, 2), 0.0)
    assert late.is_patient(7)
