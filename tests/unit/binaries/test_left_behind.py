"""Who may have a child read for it while others hang; claims of `rover.binaries.left_behind`."""

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from rover.binaries.left_behind import MOST, LeftBehind
from rover.foreign.blame import Blame

ROOT = Blame(1, 0)
CONTAINERS_ROOT = Blame(2, 0, namespace=77)
USERS = [Blame(1_000 + at, 1_000 + at) for at in range(MOST)]


@pytest.fixture
def hangs() -> Iterator[Callable[[], subprocess.Popen]]:
    """A child that is still there."""
    started = []

    def start() -> subprocess.Popen:
        code = "import sys; sys.stdin.read()"
        started.append(subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE))
        return started[-1]

    yield start
    for each in started:
        each.communicate()


def test_while_no_child_hangs_all_are_read():
    left = LeftBehind()
    assert not any(map(left.obstacle, [None, ROOT, CONTAINERS_ROOT, *USERS]))


def test_whoever_holds_a_child_up_gets_no_other_and_all_others_do(hangs: Callable):
    left = LeftBehind()
    left.add(hangs().pid, USERS[0])
    assert left.obstacle(USERS[0]._replace(pid=5)) == (
        "a child is held up by what it read of pid 1000 of uid 1000"
    )
    assert not any(map(left.obstacle, [None, ROOT, CONTAINERS_ROOT, *USERS[1:]]))


def test_users_of_one_users_namespace_are_that_user(hangs: Callable):
    left = LeftBehind()
    left.add(hangs().pid, Blame(5, 100_001, owner=1_000))
    assert left.obstacle(Blame(6, 100_002, owner=1_000))
    assert not left.obstacle(Blame(6, 100_002, owner=1_001))


def test_the_last_place_is_the_hosts_roots_and_then_there_is_none(hangs: Callable):
    left = LeftBehind()
    for blame in USERS[:-1]:
        left.add(hangs().pid, blame)
    assert left.obstacle(USERS[-1])
    assert left.obstacle(CONTAINERS_ROOT)
    assert not left.obstacle(ROOT)
    assert not left.obstacle(None)  # the kernel's own names
    left.add(hangs().pid, ROOT)
    assert left.obstacle(ROOT._replace(pid=9)) == f"{MOST} children are held up by what they read"
    assert left.obstacle(None)


def test_once_it_is_gone_its_user_may_have_another(hangs: Callable):
    left = LeftBehind()
    child = hangs()
    left.add(child.pid, USERS[0])
    assert left.obstacle(USERS[0])
    child.kill()
    child.communicate()
    assert not left.obstacle(USERS[0])
