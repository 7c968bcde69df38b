"""The table: leaders, followers, and exactly the changes that the backend must hear of."""

from __future__ import annotations

import itertools
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rover.model import Entity, EntityKey, Process, ProcessKey, Reason, Report, Verdict
from rover.table import Table


def process(pid: int, start: int = 0, command_line: str = "run", uid: int = 0) -> Process:
    return Process(
        key=ProcessKey(pid, start or pid),
        ppid=1,
        name="run",
        exe="/bin/run",
        arguments=command_line.encode(),
        cwd="/",
        uid=uid,
        cgroup="0::/",
        pid_namespace=1,
        mount_namespace=1,
        namespace_pid=pid,
        image=1,
    )


def claim(who: Process, *names: str, own_word: bool = False) -> Verdict:
    return Verdict(
        tuple(
            Report(Entity("OS_LINUX", "service", "host", name), who, own_word=own_word)
            for name in names
        )
    )


def key(name: str) -> EntityKey:
    return EntityKey("OS_LINUX", "service", "host", name)


def put(table: Table, who: Process, *names: str, own_word: bool = False) -> None:
    table.put(who, claim(who, *names, own_word=own_word))


def leader(table: Table, name: str) -> int:
    """Who leads, by asking the first process that claims it."""
    for row in table:
        why = table.why(row.process.pid)
        assert why
        for report in why.leads:
            if report.entity.process == name:
                return row.process.pid
    raise AssertionError(f"nobody leads {name}")


def test_a_new_process_is_announced_once():
    table = Table()
    put(table, process(10), "a")
    assert [report.process.pid for report in table.changes().announced] == [10]
    assert not table.changes()


def test_the_oldest_leads_and_others_are_not_announced():
    table = Table()
    put(table, process(20), "a")
    table.changes()
    put(table, process(30), "a")
    assert not table.changes()
    put(table, process(10), "a")
    assert [report.process.pid for report in table.changes().announced] == [10]


def test_all_processes_of_an_entity_are_named_the_leader_first():
    table = Table()
    for pid in (30, 10, 20):
        put(table, process(pid), "a")
    put(table, process(40), "b")
    assert [each.pid for each in table.claimants(key("a"))] == [10, 20, 30]
    table.remove(10)
    assert [each.pid for each in table.claimants(key("a"))] == [20, 30]
    assert table.claimants(key("nobody")) == ()


def test_who_merely_says_so_is_of_an_entity_only_as_the_user_who_leads_it():
    table = Table()
    put(table, process(10, uid=1000), "a")
    put(table, process(20, uid=1000), "a", own_word=True)
    put(table, process(30, uid=65534), "a", own_word=True)
    assert [each.pid for each in table.claimants(key("a"))] == [10, 20]


def test_the_next_takes_over_when_the_leader_exits():
    table = Table()
    for pid in (10, 20, 30):
        put(table, process(pid), "a")
    table.changes()
    table.remove(20)
    assert not table.changes()
    table.remove(10)
    assert [report.process.pid for report in table.changes().announced] == [30]
    table.remove(30)
    changes = table.changes()
    assert changes.withdrawn == (key("a"),)
    assert not changes.announced


def test_what_comes_and_goes_between_two_looks_is_not_told():
    table = Table()
    put(table, process(10), "a")
    table.remove(10)
    assert not table.changes()


def test_a_reused_pid_is_a_new_process():
    table = Table()
    put(table, process(10, start=1), "a")
    table.changes()
    put(table, process(10, start=99), "b")
    changes = table.changes()
    assert changes.withdrawn == (key("a"),)
    assert [report.process.key for report in changes.announced] == [ProcessKey(10, 99)]


def test_exec_keeps_the_key_and_tells_the_new_record():
    table = Table()
    put(table, process(10), "a")
    table.changes()
    put(table, process(10, command_line="other"), "a")
    assert [report.process.command_line for report in table.changes().announced] == ["other"]


def titles_told(table: Table, titles: int, every: float = 1.0) -> list[tuple[float, str]]:
    """Let a process change its title again and again; return when which was announced."""
    told = []
    for number in range(titles):
        put(table, process(10, command_line=f"title {number}"), "a")
        now = number * every
        told += [(now, report.process.command_line) for report in table.changes(now).announced]
    return told


def test_a_title_that_carries_a_counter_is_told_ever_more_rarely():
    told = titles_told(Table(), 3600)
    assert len(told) < 20
    assert all(later - at >= 60 for (at, _), (later, _) in itertools.pairwise(told[5:]))


def test_the_newest_title_is_told_in_the_end():
    table = Table()
    told = titles_told(table, 10)
    assert told[-1][1] != "title 9"
    until = table.next_change()
    assert until is not None
    assert not table.changes(until - 1)
    assert [r.process.command_line for r in table.changes(until).announced] == ["title 9"]
    assert table.next_change() is None


def test_while_a_title_waits_a_new_leader_is_told_at_once():
    table = Table()
    put(table, process(20), "a")
    titles_told(table, 10)
    table.remove(10)
    assert [report.process.pid for report in table.changes(11).announced] == [20]


def test_a_title_that_is_again_as_it_was_waits_no_longer():
    table = Table()
    last = titles_told(table, 10)[-1][1]
    put(table, process(10, command_line=last), "a")
    assert not table.changes(11)
    assert table.next_change() is None


def test_what_the_backend_does_not_hear_of_is_no_news():
    table = Table()
    put(table, process(10), "a")
    table.changes()
    moved = replace(process(10), cwd="/srv", uid=7, ppid=2, cgroup="0::/a")
    put(table, moved, "a")
    assert not table.changes()
    why = table.why(10)
    assert why is not None
    assert why.process == moved == why.leads[0].process


def test_a_process_that_is_renamed_leaves_its_entity_to_the_next():
    table = Table()
    put(table, process(10), "a")
    put(table, process(20), "a")
    table.changes()
    put(table, process(10), "b")
    told = {r.entity.process: r.process.pid for r in table.changes().announced}
    assert told == {"a": 20, "b": 10}


def test_names_that_the_backend_cuts_to_the_same_are_one_entity():
    table = Table()
    for pid in (10, 20):
        who = process(pid)
        report = Report(Entity("OS_LINUX", "s" * 70 + str(pid), "host", "a"), who)
        table.put(who, Verdict((report,)))
    assert len(table.changes().announced) == 1


def test_why_names_the_leader_of_a_follower():
    table = Table()
    put(table, process(10), "a")
    put(table, process(20), "a", "b")
    why = table.why(20)
    assert why is not None
    assert [report.entity.process for report in why.leads] == ["b"]
    assert [(report.entity.process, pid) for report, pid in why.follows] == [("a", 10)]
    put(table, process(30), "a")
    follower = table.why(30)
    assert follower is not None
    assert follower.reason is Reason.FOLLOWS


def test_why_tells_the_reason_of_an_unreported_process():
    table = Table()
    table.put(process(10), Verdict(reason=Reason.IGNORED, detail="^run"))
    why = table.why(10)
    assert why is not None
    assert (why.reason, why.detail) == (Reason.IGNORED, "^run")
    assert table.why(11) is None


def test_what_a_user_writes_of_an_older_process_does_not_displace_what_the_agent_found():
    table = Table()
    put(table, process(20, uid=0), "a")
    put(table, process(10, uid=1000), "a", own_word=True)
    assert leader(table, "a") == 20
    why = table.why(10)
    assert why
    assert why.reason is Reason.FOLLOWS
    assert why.detail == (
        "metadata of uid 1000 does not displace the entity's leader, which runs as uid 0"
    )


def test_the_user_who_has_an_entity_keeps_it_from_older_processes_of_another():
    table = Table()
    put(table, process(20, uid=1000), "a", own_word=True)
    put(table, process(10, uid=65534), "a", own_word=True)
    assert leader(table, "a") == 20
    put(table, process(30, uid=1000), "a", own_word=True)
    table.remove(20)
    assert leader(table, "a") == 30
    table.remove(30)
    assert leader(table, "a") == 10


def test_the_oldest_process_of_one_user_leads_whenever_it_says_so():
    table = Table()
    put(table, process(20, uid=1000), "a", own_word=True)
    put(table, process(10, uid=1000), "a", own_word=True)
    assert leader(table, "a") == 10
    why = table.why(20)
    assert why
    assert why.detail == ""


class TableMachine(RuleBasedStateMachine):
    """Whatever happens, the backend's view is each entity with the claimant that leads it."""

    def __init__(self) -> None:
        super().__init__()
        self.table = Table()
        self.model: dict[int, tuple[Process, frozenset[str], bool]] = {}
        self.holders: dict[str, int] = {}
        """The user who has an entity, of those that users claim."""
        self.backend: dict[EntityKey, Report] = {}

    @rule(
        who=st.builds(
            process,
            st.integers(1, 6),
            st.integers(1, 4),
            st.sampled_from(["x", "y"]),
            st.sampled_from([0, 1000, 1001]),
        ),
        names=st.frozensets(st.sampled_from("abc")),
        own_word=st.booleans(),
    )
    def put(self, *, who: Process, names: frozenset[str], own_word: bool) -> None:
        pid, uid = who.pid, who.uid
        put(self.table, who, *names, own_word=own_word)
        before = self.model.get(pid)
        kept = before and before[0].key == who.key and before[2] == own_word
        if not (kept and (before[0].uid == uid or not own_word)):
            self.model.pop(pid, None)
            self.pass_on()
        self.model[pid] = (who, names, own_word)
        self.pass_on()

    @rule(pid=st.integers(1, 6))
    def remove(self, pid: int) -> None:
        removed = self.table.remove(pid)
        known = self.model.pop(pid, None)
        assert removed == (known[0] if known else None)
        self.pass_on()

    def claims(self, name: str, *, own_word: bool) -> list[Process]:
        found = [
            who for who, names, own in self.model.values() if name in names and own is own_word
        ]
        return sorted(found, key=lambda who: (who.key.start_ticks, who.pid))

    def pass_on(self) -> None:
        for name in "abc":
            claims = self.claims(name, own_word=True)
            if not any(who.uid == self.holders.get(name) for who in claims):
                self.holders.pop(name, None)
                if claims:
                    self.holders[name] = claims[0].uid

    def leads(self, name: str) -> Process | None:
        found = self.claims(name, own_word=False)
        if not found:
            claims = self.claims(name, own_word=True)
            found = [who for who in claims if who.uid == self.holders[name]]
        return found[0] if found else None

    @rule()
    def tell(self) -> None:
        changes = self.table.changes()
        for report in changes.announced:
            assert self.backend.get(report.entity.key) != report
            self.backend[report.entity.key] = report
        for gone in changes.withdrawn:
            del self.backend[gone]
        expected = {key(name): who.key for name in "abc" if (who := self.leads(name))}
        assert {k: r.process.key for k, r in self.backend.items()} == expected
        assert self.table.entities == len(expected)

    @invariant()
    def rows_are_the_living(self) -> None:
        assert self.table.pids() == set(self.model)


TableMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestTableMachine = TableMachine.TestCase
