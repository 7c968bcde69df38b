"""What a process changes after its start is seen: at once while it is young, in a period after."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent_rig import running as running_agent
from census_rig import Rig, running

from rover.backend import EmbeddedBackend
from rover.backend.records import Snapshot
from rover.discovery.procfs import ProcReader
from rover.flapping import AT_ONCE
from rover.model import Entity, Process, Report, Verdict

pytestmark = pytest.mark.kernel

CHANGER = str(Path(__file__).with_name("changer.py"))
PADDING = "x" * 60
"""An argument that leaves room for a title."""
SOON_S = 60.0
"""Seconds in which a change must be known on a machine that is very busy; a few on one at rest."""
PERIOD = 2.0
NOBODY = 65534


class Changer:
    """A process that changes itself at the test's word."""

    def __init__(self, spawn: Callable[..., subprocess.Popen[bytes]], **options: object) -> None:
        pipe = subprocess.PIPE
        # the environment's own link may lie where only root can look
        python = str(Path(sys.executable).resolve())
        self.child = spawn(python, CHANGER, PADDING, stdin=pipe, stdout=pipe, **options)

    @property
    def pid(self) -> int:
        return self.child.pid

    def make(self, change: str, value: object = "") -> None:
        assert self.child.stdin
        assert self.child.stdout
        self.child.stdin.write(f"{change} {value}\n".encode())
        self.child.stdin.flush()
        assert self.child.stdout.readline().decode().strip() == change


@pytest.fixture
def changer(spawn: Callable) -> Changer:
    return Changer(spawn)


@pytest.fixture
def rig() -> Iterator[Rig]:
    with running() as rig:
        yield rig


@pytest.fixture
def old_rig() -> Iterator[Rig]:
    """One to which all is old, with a short period."""
    with running(look_period=PERIOD) as rig:
        yield rig


@pytest.fixture
def backend() -> Iterator[EmbeddedBackend]:
    with EmbeddedBackend() as server:
        yield server


def known(rig: Rig, pid: int) -> Process | None:
    row = rig.discovery.inspect(lambda census: census.table.get(pid))
    return row and row.process


def wait_until(rig: Rig, pid: int, claim: Callable[[Process], bool], within: float) -> Process:
    """Wait until what is known of a process fits."""
    deadline = time.monotonic() + within
    while (process := known(rig, pid)) is None or not claim(process):
        assert time.monotonic() < deadline, process
        time.sleep(0.05)
    return process


FACTS = {
    "title": ("gunicorn: master", lambda p: p.command_line == "gunicorn: master"),
    "moved": ("postgres: idle", lambda p: p.command_line == "postgres: idle"),
    "name": ("nginx-worker", lambda p: p.name == "nginx-worker"),
    "comm": ("celeryd", lambda p: p.name == "celeryd"),
    "user": (NOBODY, lambda p: p.uid == NOBODY),
    "directory": ("/usr", lambda p: p.cwd == "/usr"),
    "namespace": ("", lambda p: p.mount_namespace != Path("/proc/self/ns/mnt").stat().st_ino),
}


@pytest.mark.parametrize("change", FACTS)
def test_a_change_in_the_first_seconds_is_known_in_seconds(rig: Rig, changer: Changer, change: str):
    value, claim = FACTS[change]
    before = rig.seen.wait_for(changer.pid, within=SOON_S)
    assert before is not None
    assert not claim(before)
    time.sleep(0.6)  # as a server does that sets its title when it has come up
    changer.make(change, value)
    after = wait_until(rig, changer.pid, claim, SOON_S)
    assert after.key == before.key
    assert after.image == before.image


@pytest.mark.parametrize("change", FACTS)
def test_a_change_of_an_old_process_is_known_in_a_period(
    spawn: Callable, monkeypatch: pytest.MonkeyPatch, change: str
):
    monkeypatch.setattr("rover.discovery.revisits.AGES", (0.0,))
    value, claim = FACTS[change]
    with running(look_period=PERIOD) as rig:
        changer = Changer(spawn)
        rig.seen.wait_for(changer.pid, within=SOON_S)
        changer.make(change, value)
        wait_until(rig, changer.pid, claim, SOON_S)


def test_what_has_not_run_is_not_compared_and_what_is_the_same_not_read_anew(
    spawn: Callable, eventually: Callable, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("rover.discovery.revisits.AGES", (0.0,))
    sleepers = [spawn("/bin/sleep", "300") for _ in range(100)]
    with running(look_period=PERIOD) as rig:
        looks, rows = rig.census.looks, len(rig.census.table)
        assert rows > len(sleepers)
        eventually(lambda: looks.looks >= rows, within=20)
        began, more = looks.looks, looks.compared
        eventually(lambda: looks.looks >= began + 3 * rows, within=20)
        assert looks.compared - more <= (looks.looks - began) - 2 * len(sleepers)
        assert looks.compared > looks.reads


def test_what_runs_as_it_was_is_told_from_what_does_not(changer: Changer):
    reader = ProcReader()
    for change in sorted(FACTS, key=lambda change: change == "user"):  # the last that it may do
        value, _ = FACTS[change]
        known = reader.read(changer.pid)
        assert isinstance(known, Process)
        assert reader.is_as(known)
        changer.make(change, value)
        assert not reader.is_as(known), change
    changer.child.kill()
    changer.child.wait()
    assert not reader.is_as(known)


@contextlib.contextmanager
def cgroup(tree: str, name: str) -> Iterator[Path]:
    """Make a cgroup in a mounted tree until the end of the block."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    wanted = ("cgroup2", "") if tree == "v2" else ("cgroup", "name=systemd")
    at = next((m[1] for m in mounts if m[2] == wanted[0] and wanted[1] in m[3]), None)
    if at is None:
        pytest.skip(f"no tree {tree} is mounted here")
    group = Path(at, name)
    group.mkdir()
    try:
        yield group
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            Path(at, "cgroup.procs").write_text(pid)
        deadline = time.monotonic() + 20
        while group.exists() and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                group.rmdir()


@pytest.mark.parametrize("tree", ["v1", "v2"])
@pytest.mark.parametrize("see_trees", [True, False])
def test_a_process_that_others_move_to_another_cgroup_is_known_there_though_it_never_ran(
    spawn: Callable,
    monkeypatch: pytest.MonkeyPatch,
    tree: str,
    see_trees: bool,  # noqa: FBT001 - a parameter of the test
):
    monkeypatch.setattr("rover.discovery.revisits.AGES", (0.0,))
    with (
        running(look_period=PERIOD, see_trees=see_trees) as rig,
        cgroup(tree, f"test-{os.getpid()}.service") as group,
    ):
        sleeper = spawn("/bin/sleep", "300")
        rig.seen.wait_for(sleeper.pid, within=SOON_S)
        (group / "cgroup.procs").write_text(str(sleeper.pid))
        wait_until(rig, sleeper.pid, lambda p: f"/{group.name}" in p.cgroup, SOON_S)
        sleeper.kill()
        sleeper.wait()


def test_a_title_that_flaps_is_reported_a_few_times_and_known_as_it_is(rig: Rig, changer: Changer):
    rig.seen.wait_for(changer.pid, within=SOON_S)
    last = ""
    for number in range(40):
        last = f"worker: {number}"
        changer.make("title", last)
        time.sleep(0.1)
    wait_until(rig, changer.pid, lambda p: p.command_line == last, SOON_S)
    assert rig.seen.times_announced(changer.pid) <= 1 + AT_ONCE


def test_names_that_flap_are_taken_a_few_times_and_the_reason_tells_it(
    spawn: Callable, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("rover.discovery.revisits.AGES", (0.0,))
    with running(look_period=0.2) as rig:

        def by_title(process: Process) -> Verdict:
            entity = Entity("OS_LINUX", "test", "host", f"{process.command_line}-{process.pid}")
            return Verdict((Report(entity, process),))

        monkeypatch.setattr(rig.judge, "judge", by_title)
        changer = Changer(spawn)
        rig.seen.wait_for(changer.pid, within=SOON_S)
        for number in range(3 * AT_ONCE + 1):
            title = "ab"[number % 2]
            changer.make("title", title)
            wait_until(rig, changer.pid, lambda p, t=title: p.command_line == t, SOON_S)
        # new names, and then other facts under the name that it keeps
        assert rig.seen.times_announced(changer.pid) <= 1 + 2 * AT_ONCE
        assert len([k for k in rig.seen.withdrawn if k.process.endswith(f"-{changer.pid}")]) <= 4
        why = rig.discovery.inspect(lambda census: census.why(changer.pid))
        assert "its names change too often" in why.detail


def test_an_executable_whose_name_ends_like_the_kernels_mark_keeps_it(
    spawn: Callable, tmp_path: Path
):
    kept, gone = tmp_path / "x (deleted)", tmp_path / "x"
    for path in (kept, gone):
        shutil.copy("/bin/sleep", path)
    reader = ProcReader()
    named, deleted = spawn(str(kept), "300"), spawn(str(gone), "300")
    gone.unlink()

    def exe(child: subprocess.Popen[bytes]) -> str:
        process = reader.read(child.pid)
        assert isinstance(process, Process)
        return process.exe

    assert exe(named) == str(kept)
    assert exe(deleted) == str(gone)
    kept.unlink()
    assert exe(named) == str(kept)


BY_TITLE = """
process_discovery:
  heartbeat_period: 1s
  scanner:
    regex:
      - match_cmd: "^gunicorn: master \\\\[(\\\\w+)\\\\]"
        service_name: "{{.Finder.RegexMatchGroup 1}}"
        instance_name: "{{.Process.User}}"
        process_name: gunicorn
      - match_cmd: "changer.py"
        service_name: not-settled
        instance_name: "{{.Process.User}}"
        process_name: python
"""


def rows(backend: EmbeddedBackend, pid: int) -> list[tuple[str, str]]:
    held = backend.state.snapshot().processes
    return [(row.entity.service, row.entity.instance) for row in held if row.pid == pid]


def wait_for_row(backend: EmbeddedBackend, pid: int, service: str) -> Entity:
    held = backend.state.wait_for(
        lambda held: any(
            row.visible and row.pid == pid and row.entity.service == service
            for row in held.processes
        ),
        SOON_S,
    )
    return next(
        row.entity
        for row in held.processes
        if row.pid == pid and row.entity.service == service and row.visible
    )


def test_a_settled_title_names_the_process_and_names_it_alike_after_a_restart_of_the_agent(
    backend: EmbeddedBackend, tmp_path: Path, spawn: Callable
):
    with running_agent(backend, tmp_path, config=BY_TITLE):
        changer = Changer(spawn)
        former = wait_for_row(backend, changer.pid, "not-settled")
        time.sleep(0.6)
        changer.make("title", "gunicorn: master [shop]")
        settled = wait_for_row(backend, changer.pid, "shop")

        def withdrawn(held: Snapshot) -> bool:
            at = {
                row.entity.service: row.last_ping.monotonic
                for row in held.processes
                if row.pid == changer.pid and row.last_ping
            }
            return at["shop"] > at[former.service] + 2

        backend.state.wait_for(withdrawn)
    with EmbeddedBackend() as another, running_agent(another, tmp_path, config=BY_TITLE):
        assert wait_for_row(another, changer.pid, "shop") == settled
        assert rows(another, changer.pid) == [("shop", "root")]


def test_one_that_gives_up_root_is_its_new_users_and_its_agents_word_counts(
    backend: EmbeddedBackend, tmp_path: Path, spawn: Callable
):
    config = BY_TITLE.replace("scanner:\n", "scanner:\n    period: 1s\n")
    # not below the test's own folder, which is root's alone
    with (
        tempfile.TemporaryDirectory() as place,
        running_agent(backend, tmp_path, config=config),
    ):
        Path(place).chmod(0o1777)
        changer = Changer(spawn, env={"TMPDIR": place, "PATH": os.environ["PATH"]})
        wait_for_row(backend, changer.pid, "not-settled")
        changer.make("user", NOBODY)
        backend.state.wait_for(
            lambda _: ("not-settled", "nobody") in rows(backend, changer.pid), SOON_S
        )
        changer.make("metadata", "spoken-for")
        wait_for_row(backend, changer.pid, "spoken-for")


def test_one_moved_into_a_units_cgroup_is_named_after_the_unit(
    backend: EmbeddedBackend, tmp_path: Path, spawn: Callable
):
    options = ("--set", "process_discovery.reconcile_period=2s")
    with running_agent(backend, tmp_path, *options):
        name = f"moved-{os.getpid()}"
        with cgroup("v1", f"{name}.service") as group:
            shutil.copy("/bin/sleep", tmp_path / name)
            child = spawn(str(tmp_path / name), "300")
            time.sleep(1)
            (group / "cgroup.procs").write_text(str(child.pid))
            wait_for_row(backend, child.pid, name)


def test_a_title_that_flaps_does_not_flood_the_backend(
    backend: EmbeddedBackend, tmp_path: Path, spawn: Callable
):
    options = ("--set", "process_discovery.reconcile_period=1s")
    with running_agent(backend, tmp_path, *options, config=BY_TITLE):
        changer = Changer(spawn)
        wait_for_row(backend, changer.pid, "not-settled")
        changer.make("title", "gunicorn: master [shop] 0")
        wait_for_row(backend, changer.pid, "shop")
        for number in range(60):
            changer.make("title", f"gunicorn: master [shop] {number}")
            time.sleep(0.2)
        held = backend.state.snapshot().processes
        reports = sum(row.reports for row in held if row.pid == changer.pid)
        full = 1 + max(row.pings for row in held) // 10
        assert reports <= 2 + AT_ONCE + 2 * full
