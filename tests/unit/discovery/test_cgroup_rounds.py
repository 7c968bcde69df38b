"""Who has left a cgroup is told by the cgroup, where the agent sees it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.discovery.cgroup_rounds import (
    AT_ONCE,
    NAMED,
    NEXT_TURN,
    NO_TREES,
    UNIFIED,
    CgroupRounds,
    MountedTrees,
    cgroup_mounts,
    places,
    trees_here,
)
from rover.model import Process, ProcessKey, Verdict
from rover.table import Row

PERIOD = 30.0
HYBRID = {UNIFIED: "/sys/fs/cgroup/unified", NAMED: "/sys/fs/cgroup/systemd"}
V2 = {UNIFIED: "/sys/fs/cgroup"}
SERVICE = "9:name=systemd:/a.service\n3:cpu:/b\n0::/a.service"


@pytest.mark.parametrize(
    ("cgroup", "mounts", "lists"),
    [
        ("0::/a.service", V2, ("/sys/fs/cgroup/a.service/cgroup.procs",)),
        ("0::/", V2, ("/sys/fs/cgroup/cgroup.procs",)),
        (
            SERVICE,
            HYBRID,
            (
                "/sys/fs/cgroup/systemd/a.service/cgroup.procs",
                "/sys/fs/cgroup/unified/a.service/cgroup.procs",
            ),
        ),
        (SERVICE, V2, ()),
        ("0::/../../a.service", V2, ()),
        ("0::/a/../b", V2, ()),
        ("3:cpu:/b", HYBRID, ()),
        ("0::", V2, ()),
        ("", HYBRID, ()),
        ("0::/a", {}, ()),
    ],
)
def test_the_lists_are_those_of_the_trees_that_name_a_process_and_all_or_none(
    cgroup, mounts, lists
):
    assert places(cgroup, mounts) == lists


def test_only_whole_trees_count():
    mountinfo = (
        "30 20 0:26 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
        "31 20 0:27 / /sys/fs/cgroup/systemd rw shared:9 - cgroup cgroup rw,xattr,name=systemd\n"
        "32 20 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
        "33 20 0:26 /docker/x /elsewhere rw - cgroup2 cgroup2 rw\n"
        "34 20 0:27 / /with\\040blank rw - cgroup cgroup rw,name=systemd\n"
        "35 20 0:29 / /home rw - ext4 /dev/sda rw\n"
    )
    assert cgroup_mounts(mountinfo) == HYBRID


@given(st.text(), st.text())
def test_no_text_makes_them_raise(mountinfo, cgroup):
    assert not cgroup_mounts(mountinfo)
    assert all(place.endswith("/cgroup.procs") for place in places(cgroup, HYBRID))


def test_trees_in_which_the_agent_does_not_find_itself_are_not_believed(tmp_path):
    mountinfo = f"30 20 0:26 / {tmp_path} rw - cgroup2 cgroup2 rw\n"
    members = tmp_path / "cgroup.procs"
    assert trees_here(mountinfo, "0::/") is NO_TREES
    members.write_text("1\n")
    assert trees_here(mountinfo, "0::/") is NO_TREES
    members.write_text(f"1\n{os.getpid()}\n")
    assert trees_here(mountinfo, "0::/") is not NO_TREES
    assert trees_here(mountinfo, "0::/../x") is NO_TREES
    assert trees_here("", "0::/") is NO_TREES


def test_a_list_is_read_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "cgroup.procs"
    path.write_text("".join(f"{pid}\n" for pid in range(40_000)))
    assert len(MountedTrees({}).members(str(path))) == 40_000
    monkeypatch.setattr("rover.discovery.cgroup_rounds.LIST_BYTES", 1_000)
    with pytest.raises(OSError, match="more than 1000 bytes"):
        MountedTrees({}).members(str(path))


def process(pid: int, cgroup: str) -> Process:
    return Process(ProcessKey(pid, 1), 1, "run", "/run", "run", "/", 0, cgroup, 1, 1, pid, 1)


class Host:
    """Cgroups as files, and the rows that are known."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[Row] = []
        trees = MountedTrees({UNIFIED: str(folder)})
        self.rounds = CgroupRounds(trees, self.rows, PERIOD)
        self.now = 100.0

    def run(self, cgroup: str, *pids: int, known: bool = True) -> None:
        group = self.folder / cgroup
        group.mkdir(exist_ok=True)
        with (group / "cgroup.procs").open("a") as file:
            file.writelines(f"{pid}\n" for pid in pids)
        if known:
            self.rows += [Row(process(pid, f"0::/{cgroup}"), Verdict()) for pid in pids]

    def round(self) -> tuple[list[int], int]:
        """Make one round; return who may have left, and the number of turns."""
        strays, turns, ends = [], 0, None
        while ends is None or (self.rounds.next_turn() or 0.0) < ends:
            self.now = max(self.now, self.rounds.next_turn() or 0.0)
            ends = ends or self.now + PERIOD
            strays += [key.pid for key in self.rounds.take(self.now)]
            turns += 1
        return strays, turns


def test_who_is_where_it_is_known_to_be_is_not_asked(tmp_path):
    host = Host(tmp_path)
    host.run("a", 1, 2, 3)
    host.run("b", 4)
    assert host.round() == ([], 1)


def test_who_was_moved_is_told_once_a_period(tmp_path):
    host = Host(tmp_path)
    host.run("a", 1, 2, 3)
    host.run("b", 4)
    assert host.round()[0] == []
    (tmp_path / "a/cgroup.procs").write_text("1\n3\n")
    host.run("b", 2, known=False)
    assert host.round()[0] == [2]


def test_of_a_cgroup_that_is_gone_all_are_asked(tmp_path):
    host = Host(tmp_path)
    host.run("a", 1, 2)
    (tmp_path / "a/cgroup.procs").unlink()
    assert host.round()[0] == [1, 2]


def test_many_groups_are_spread_over_turns(tmp_path):
    host = Host(tmp_path)
    for number in range(30):
        host.run(f"g{number}", *range(number * 100, number * 100 + 100))
    strays, turns = host.round()
    assert not strays
    assert 3_000 / (AT_ONCE + 100) <= turns <= 3_000 / AT_ONCE + 1
    assert turns * NEXT_TURN < PERIOD


def test_where_nothing_is_seen_there_is_no_turn():
    rounds = CgroupRounds(NO_TREES, [], PERIOD)
    assert rounds.next_turn() is None
    assert not rounds.covers("0::/")
    assert list(rounds.take(100.0)) == []
