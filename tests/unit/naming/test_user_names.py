"""The user database answers, is slow, or hangs; a real thread asks it."""

import contextlib
import os
import pwd
import queue
import threading
import time

import pytest

from rover.guard import Guard
from rover.model import ProcessKey
from rover.naming.user_names import (
    KEPT_S,
    LONGEST_S,
    MAX_ASKED,
    MAX_KNOWN,
    PATIENCE_S,
    UserNames,
    name_of_user,
)

KEY, OTHER = ProcessKey(42, 1), ProcessKey(43, 1)
WITHIN_S = 20.0


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Database:
    """A user database that answers what it is let answer."""

    def __init__(self, **names):
        self.names = {int(uid.removeprefix("uid")): name for uid, name in names.items()}
        self.asked = []
        self.answers = threading.Event()
        self.answers.set()
        self.told = queue.SimpleQueue()

    def __call__(self, uid):
        self.asked.append(uid)
        assert self.answers.wait(WITHIN_S)
        return self.names.get(uid)

    @contextlib.contextmanager
    def hanging(self):
        self.answers.clear()
        try:
            yield
        finally:
            self.answers.set()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def database():
    return Database(uid1000="alice", uid1001="bob")


@pytest.fixture
def users(database, clock):
    users = UserNames(database, clock=clock)
    users.listen(lambda: database.told.put(None))
    yield users
    database.answers.set()
    users.close()


def name(users, uid, key=KEY):
    """What a user is called, once an answer had as long as it takes on a busy machine."""
    until = time.monotonic() + WITHIN_S
    while (found := users.name(uid, key)) is None and time.monotonic() < until:
        pass
    return found


def answered(database):
    database.told.get(timeout=WITHIN_S)


def test_a_user_goes_by_the_name_and_an_unknown_one_by_the_number(users):
    assert name(users, 1000) == "alice"
    assert name(users, 4_000_000_123) == "4000000123"
    assert users.changed() <= {KEY}, "where the machine was slow to answer"


def test_the_database_is_asked_for_a_user_once_a_minute(users, database, clock):
    assert {name(users, 1000) for _ in range(5)} == {"alice"}
    assert database.asked == [1000]
    clock.now += KEPT_S
    users.name(1000, KEY)
    assert database.asked == [1000, 1000] or users.figures["asked"] == 1


def test_names_are_not_kept_without_bound(users):
    for uid in range(2000, 2000 + MAX_KNOWN + 50):
        name(users, uid)
    assert users.figures["known"] == MAX_KNOWN


def test_who_asks_hardly_waits_for_a_database_that_hangs(users, database):
    with database.hanging():
        began = time.monotonic()
        assert [users.name(uid, ProcessKey(uid, 1)) for uid in range(500)] == [None] * 500
        used = time.monotonic() - began
    assert used < 10, "one wait of 50 ms; of each, it would be 25 s"


def test_a_process_waits_for_its_name_and_is_told_of_when_it_comes(users, database):
    with database.hanging():
        assert users.name(1000, KEY) is None
        assert users.changed() == set()
    answered(database)
    assert users.next_change(0.0) == 0.0
    assert users.changed() == {KEY}
    assert users.name(1000, KEY) == "alice"
    assert users.changed() == set()


def test_after_some_seconds_the_number_stands_for_the_name_until_it_comes(users, database, clock):
    with database.hanging():
        assert users.name(1000, KEY) is None
        assert users.next_change(clock.now) == clock.now + PATIENCE_S
        assert users.changed() == set()
        clock.now += PATIENCE_S
        assert users.changed() == {KEY}
        assert users.name(1000, KEY) == "1000"
        assert users.name(1000, OTHER) == "1000", "nobody waits for what is given up"
        assert "uid 1000" in users.obstacle(KEY)
        assert users.changed() == set(), "nothing is told again and again"
        assert users.figures == {"known": 0, "asked": 1, "late": 1}
    answered(database)
    assert users.changed() == {KEY, OTHER}
    assert users.name(1000, KEY) == "alice"
    assert users.obstacle(KEY) == ""


def test_names_wait_longer_where_others_come_meanwhile_but_not_for_ever(clock):
    turn = queue.SimpleQueue()
    told = queue.SimpleQueue()
    users = UserNames(lambda uid: turn.get(timeout=WITHIN_S) and f"user-{uid}", clock=clock)
    users.listen(lambda: told.put(None))
    for uid in range(20):
        assert users.name(uid, ProcessKey(uid, 1)) is None
    given_up, began = set(), clock.now
    for uid in range(19):
        clock.now += PATIENCE_S - 1
        if clock.now - began < LONGEST_S:
            assert not given_up
        turn.put(1)
        told.get(timeout=WITHIN_S)
        given_up |= users.changed() - {ProcessKey(uid, 1)}
    assert given_up
    turn.put(1)
    users.close()


def test_known_names_are_used_while_a_renewed_question_hangs(users, database, clock):
    assert name(users, 1000) == "alice"
    answered(database)
    users.changed()
    clock.now += KEPT_S
    database.names[1000] = "carol"
    with database.hanging():
        assert [users.name(1000, KEY) for _ in range(50)] == ["alice"] * 50
        clock.now += PATIENCE_S
        users.changed()
        assert users.name(1000, KEY) == "alice"
        assert users.obstacle(KEY) == ""
    answered(database)
    assert users.changed() == {KEY}, "what it is called now is another name"
    assert users.name(1000, KEY) == "carol"


def test_a_name_stays_where_the_database_knows_the_user_no_more(users, database, clock):
    assert name(users, 1000) == "alice"
    answered(database)
    del database.names[1000]
    clock.now += KEPT_S
    users.name(1000, KEY)
    answered(database)
    assert users.name(1000, KEY) == "alice"


def test_a_process_that_has_ended_is_not_told_of(users, database):
    with database.hanging():
        assert users.name(1000, KEY) is None
        assert users.name(1000, OTHER) is None
        users.forget(KEY)
    answered(database)
    assert users.changed() == {OTHER}


def test_of_too_many_users_at_once_the_others_go_by_the_number(users, database):
    with database.hanging():
        for uid in range(MAX_ASKED):
            users.name(uid, KEY)
        assert users.name(5_000, KEY) == "5000"
        assert users.figures["asked"] == MAX_ASKED


def test_it_is_said_once_in_the_log_that_the_database_hangs(users, database, clock, caplog):
    with database.hanging():
        for uid in range(7, 12):
            users.name(uid, KEY)
            clock.now += PATIENCE_S
            users.changed()
    (line,) = [each.getMessage() for each in caplog.records]
    assert "uid 7" in line
    assert "getent passwd 7" in line


def test_a_defect_of_the_question_costs_that_name_alone(clock):
    def fails_on_seven(uid):
        if uid == 7:
            raise RuntimeError("seven")
        return "alice"

    guard = Guard()
    users = UserNames(fails_on_seven, guard=guard, clock=clock)
    assert name(users, 7) == "7"
    assert name(users, 8) == "alice"
    assert guard.counts == {"user name": 1}
    users.close()


def test_a_thread_that_has_its_answer_ends_when_it_is_closed(database):
    users = UserNames(database)
    assert name(users, 1000) == "alice"
    thread = users._thread
    users.close()
    thread.join(WITHIN_S)
    assert not thread.is_alive()
    assert thread.daemon, "nobody waits for one that hangs"


def test_the_hosts_own_database_is_asked():
    assert name_of_user(os.getuid()) == pwd.getpwuid(os.getuid()).pw_name
    assert name_of_user(4_000_000_123) is None
    assert name_of_user(2**40) is None
