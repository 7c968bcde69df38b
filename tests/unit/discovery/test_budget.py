"""What all processes together may make the agent keep."""

from __future__ import annotations

import sys

from hypothesis import given
from hypothesis import strategies as st

from rover.discovery.budget import SHORT_ARGUMENTS, Budget
from rover.model import Entity, Place, Process, ProcessKey, Report, Verdict
from rover.table import Row


def process(pid, size=4096, uid=1000, redacted=None, tmpdir=""):
    return Process(
        key=ProcessKey(pid, 1),
        ppid=1,
        name="app",
        exe="/bin/app",
        arguments=b"x" * size,
        cwd="/",
        uid=uid,
        cgroup="0::/",
        pid_namespace=1,
        mount_namespace=1,
        namespace_pid=pid,
        image=1,
        redacted=redacted,
        place=Place(1, 1, 1, tmpdir) if tmpdir else None,
    )


def take(budget, one):
    fitted = budget.fitted(one)
    row = Row(fitted, Verdict((Report(Entity("OS_LINUX", "s", "i", "p"), fitted),)))
    budget.add(row)
    return row


def test_one_user_takes_half_of_the_budget_and_leaves_the_rest_to_others():
    budget = Budget(100_000)
    hostile = [take(budget, process(pid)) for pid in range(100)]
    assert 8 < sum(not row.process.shortened for row in hostile) < 13
    assert not take(budget, process(200, uid=0)).process.shortened


def test_beyond_the_budget_both_texts_of_a_command_line_are_cut_from_both_ends():
    budget = Budget(5_000)
    one = take(budget, process(1, redacted=b"y" * 4096)).process
    assert one.shortened
    assert len(one.arguments) <= SHORT_ARGUMENTS
    assert one.redacted is not None
    assert one.redacted.startswith(b"y")
    assert len(one.redacted) <= SHORT_ARGUMENTS
    assert budget.shortened == 1


def test_a_directory_for_files_counts_and_is_the_common_one_beyond_the_budget():
    budget = Budget(10_000)
    kept = [take(budget, process(pid, 10, tmpdir=f"/{pid}" * 300)) for pid in range(100, 120)]
    assert 0 < sum(row.process.place.tmpdir == "/tmp" for row in kept) < 20  # noqa: S108
    assert budget.kept["tmpdir"] > 4_000
    for row in kept:
        budget.remove(row)
    assert not budget.kept["tmpdir"]


def test_a_secret_does_not_come_out_by_being_cut_short():
    budget = Budget(10)
    hidden = b"app\0--password=***"
    one = take(budget, process(1, redacted=hidden)).process
    assert one.told == "app --password=***"


def test_what_ends_makes_room():
    budget = Budget(20_000)
    rows = [take(budget, process(pid)) for pid in range(10)]
    assert take(budget, process(90)).process.shortened
    for row in rows:
        budget.remove(row)
    assert not take(budget, process(91)).process.shortened


@given(st.lists(st.tuples(st.integers(0, 9000), st.integers(0, 3)), max_size=40))
def test_what_was_counted_in_is_counted_out(made):
    budget = Budget(60_000)
    rows = [take(budget, process(pid, size, uid)) for pid, (size, uid) in enumerate(made)]
    assert budget.kept["command_line"] if rows else True
    assert budget.kept.get("command_line", 0) >= sum(
        sys.getsizeof(row.process.arguments) for row in rows
    )
    for row in rows:
        budget.remove(row)
    assert not any(size for kind, size in budget.kept.items() if kind != "limit")
