"""Metadata of SkyWalking agents, as real processes in namespaces keep it."""

import logging
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from rover.discovery.procfs import ProcReader
from rover.discovery.procfs_text import absolute_tmpdir
from rover.foreign import wire
from rover.foreign.lane import Answer
from rover.foreign.reads import ForeignReads
from rover.foreign.strings import tmpdir_of
from rover.foreign.walk import identity_of
from rover.model import Place, Process, ProcessKey
from rover.sensor import watch
from rover.sensor.watch import Sensor

NAMES = "layer=GENERAL\nservice_name={service}\ninstance_name=i\nprocess_name=p\n"

# Keeps a file as an agent does, then does as it is told: a word a line.
AGENT = """
import os, shutil, sys
tmpdir = os.environ.get("TMPDIR") or "/tmp"
for word in sys.argv:
    if word.startswith("-Djava.io.tmpdir="):
        tmpdir = word.partition("=")[2]
place = f"{tmpdir}/apache_skywalking/process/{os.getpid()}"
path = os.path.join(place, "metadata.properties")
for word in sys.stdin:
    if word == "drop\\n":
        shutil.rmtree(place)
    else:
        os.makedirs(place, exist_ok=True)
        with open(path, "w") as file:
            file.write(f"layer=GENERAL\\nservice_name={word}")
            file.write("instance_name=i\\nprocess_name=p\\n")
    print(os.getpid(), flush=True)
"""


class Agent:
    """A process with an agent, perhaps in namespaces of its own."""

    def __init__(self, spawn, *wrapper, options=(), **environment):
        # the environment's own link may lie below a /tmp that the wrapper hides
        python = str(Path(sys.executable).resolve())
        command = [*wrapper, python, "-c", AGENT, *options]
        pipe = subprocess.PIPE
        self.outer = spawn(
            *command, stdin=pipe, stdout=pipe, env={"PATH": os.environ["PATH"], **environment}
        )
        self.own_pid = 0

    def tell(self, word):
        self.outer.stdin.write(f"{word}\n".encode())
        self.outer.stdin.flush()
        self.own_pid = int(self.outer.stdout.readline())

    @property
    def process(self):
        """What /proc says of the innermost child, which is the agent's process."""
        pid = self.outer.pid
        while children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            pid = int(children[0])
        process = ProcReader(with_place=True).read(pid)
        assert isinstance(process, Process)
        return process


class Looked:
    """A sensor whose looks are over on return."""

    def __init__(self, proc="/proc"):
        self.reads = ForeignReads(proc)
        self.reads.start()
        self.sensor = Sensor(60.0, self.reads)

    def __getattr__(self, name):
        return getattr(self.sensor, name)

    def watch(self, process, now):
        self.sensor.watch(process, now)
        self._rest(now)

    def refresh(self, now):
        return self.sensor.refresh(now) | self._rest(now)

    def _rest(self, now):
        changed, until = set(), time.monotonic() + 10
        while self._asked or any(each.asked for each in self._directories.values()):
            assert time.monotonic() < until
            changed |= self.take(now)
            time.sleep(0.001)
        return changed | self.take(now)


@pytest.fixture
def sensor():
    looked = Looked()
    yield looked
    looked.reads.stop()


def service(sensor, process):
    metadata = sensor.metadata(process.key)
    return metadata and metadata.service


UNSHARE = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c")
OWN_TMP = (*UNSHARE, 'mount -t tmpfs none /tmp && exec "$0" "$@"')


def test_metadata_is_known_at_once_when_the_agent_was_there_first(sensor, spawn, tmp_path):
    agent = Agent(spawn, TMPDIR=str(tmp_path))
    agent.tell("shop")
    sensor.watch(agent.process, time.time())
    assert service(sensor, agent.process) == "shop"
    assert sensor.refresh(time.time()) == set()


def test_metadata_that_appears_changes_and_goes_is_told_once_each(sensor, spawn, tmp_path):
    agent = Agent(spawn, TMPDIR=str(tmp_path))
    process = agent.process
    sensor.watch(process, time.time())
    assert sensor.metadata(process.key) is None
    for word, expected in [("shop", "shop"), ("store", "store"), ("drop", None), ("new", "new")]:
        agent.tell(word)
        assert sensor.refresh(time.time()) == {process.key}
        assert service(sensor, process) == expected
        assert sensor.refresh(time.time()) == set()


def test_a_process_in_namespaces_of_its_own_is_seen_by_its_own_pid_and_tmp(sensor, spawn):
    first, second = Agent(spawn, *OWN_TMP), Agent(spawn, *OWN_TMP)
    first.tell("one")
    second.tell("two")
    assert first.own_pid == second.own_pid == 1
    for agent in (first, second):
        sensor.watch(agent.process, time.time())
    assert service(sensor, first.process) == "one"
    assert service(sensor, second.process) == "two"
    assert sensor.figures.directories == 2


def test_a_process_under_another_root_is_seen_there(sensor, spawn, tmp_path):
    place = tmp_path / "tmp"
    place.mkdir()
    mounts = f'mount --rbind / "{tmp_path}/all" && mount --bind "{place}" "{tmp_path}/all/tmp"'
    (tmp_path / "all").mkdir()
    agent = Agent(spawn, *UNSHARE, f'{mounts} && exec chroot "{tmp_path}/all" "$0" "$@"')
    agent.tell("chrooted")
    assert (place / "apache_skywalking").is_dir()
    sensor.watch(agent.process, time.time())
    assert service(sensor, agent.process) == "chrooted"


def test_a_directory_of_one_who_holds_reads_up_is_left_alone_and_says_so(
    sensor, spawn, tmp_path, monkeypatch
):
    agent = Agent(spawn, TMPDIR=str(tmp_path))
    agent.tell("shop")
    process = agent.process
    monkeypatch.setattr(watch, "_DEFAULT_TMPDIR", str(tmp_path))  # another process may have /tmp
    blame = sensor.reads.blame(process.pid, process.uid, process.mount_namespace)
    sensor.reads._blames.strike(blame, time.monotonic())
    sensor.watch(process, time.time())
    assert service(sensor, process) is None
    assert not sensor.is_pending(process.key)
    assert "left out" in sensor.obstacle(process.key)
    sensor.reads._blames = type(sensor.reads._blames)()
    assert sensor.refresh(time.time()) == {process.key}
    assert (service(sensor, process), sensor.obstacle(process.key)) == ("shop", "")


def test_a_java_program_is_looked_for_where_its_command_line_has_it_write(sensor, spawn, tmp_path):
    options = ("-Djava.io.tmpdir=/nowhere", f"-Djava.io.tmpdir={tmp_path}/")
    agent = Agent(spawn, options=options, TMPDIR="/var/tmp")  # noqa: S108
    agent.tell("shop")
    sensor.watch(agent.process, time.time())
    assert service(sensor, agent.process) == "shop"


def test_processes_that_share_a_directory_are_looked_at_by_one_listing(sensor, spawn, tmp_path):
    agents = [Agent(spawn, TMPDIR=str(tmp_path)) for _ in range(3)]
    for number, agent in enumerate(agents):
        sensor.watch(agent.process, time.time())
        agent.tell(f"s{number}")
    assert sensor.refresh(time.time()) == {agent.process.key for agent in agents}
    assert [service(sensor, agent.process) for agent in agents] == ["s0", "s1", "s2"]
    assert sensor.figures[:4] == (3, 2, 3, 0)


def test_the_directory_is_still_seen_when_its_first_user_ended(sensor, spawn, tmp_path):
    first, second = Agent(spawn, TMPDIR=str(tmp_path)), Agent(spawn, TMPDIR=str(tmp_path))
    for agent in (first, second):
        agent.tell("x")
        sensor.watch(agent.process, time.time())
    first.outer.kill()
    first.outer.wait()
    second.tell("y")
    assert second.process.key in sensor.refresh(time.time())
    assert service(sensor, second.process) == "y"


def test_a_process_that_ended_before_the_look_is_passed_over(sensor, spawn):
    child = spawn("sleep", "60")
    process = ProcReader(with_place=True).read(child.pid)
    child.kill()
    child.wait()
    sensor.watch(process, time.time())
    assert sensor.metadata(process.key) is None
    sensor.forget(process.key)
    assert sensor.figures[:3] == (0, 0, 0)


# From here on a made-up /proc: what cannot be had of a real process in a test.


class FakeProc:
    """Processes with a common /tmp, and files for them."""

    def __init__(self, root):
        self.root = root
        self.tmp = root / "root" / "tmp"
        self.tmp.mkdir(parents=True)
        self.ticks = int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK")) - 100

    def process(self, pid, *, own_pid=0, uid=0, environ=b"", mountinfo=None):
        home = self.root / str(pid)
        home.mkdir(exist_ok=True)
        (home / "environ").write_bytes(environ)
        (home / "mountinfo").write_text(mountinfo or Path("/proc/self/mountinfo").read_text())
        if not (home / "root").is_symlink():
            (home / "root").symlink_to(self.root / "root")
        key = ProcessKey(pid, self.ticks)
        root = os.open(home / "root", os.O_PATH | os.O_DIRECTORY)
        identity = identity_of(root)
        os.close(root)
        tmpdir = absolute_tmpdir(tmpdir_of(home / "environ"), "/")
        place = Place(2, identity.mount, identity.inode, tmpdir)
        return Process(key, 1, "p", "/p", b"p", "/", uid, "", 1, 2, own_pid or pid, 1, place=place)

    def file(self, name):
        return self.tmp / "apache_skywalking" / "process" / str(name) / "metadata.properties"

    def write(self, name, service="shop", more=""):
        path = self.file(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(NAMES.format(service=service) + more)
        return path


@pytest.fixture
def proc(tmp_path):
    return FakeProc(tmp_path)


@pytest.fixture
def made_up(proc):
    looked = Looked(str(proc.root))
    yield looked
    looked.reads.stop()


def watched(sensor, process):
    sensor.watch(process, time.time())
    return service(sensor, process)


def test_a_file_counts_until_it_is_stale_and_again_when_it_is_touched(made_up, proc):
    path = proc.write(7)
    process = proc.process(7)
    assert watched(made_up, process) == "shop"
    now = path.stat().st_mtime
    assert made_up.refresh(now + 59.9) == set()
    assert made_up.refresh(now + 60.1) == {process.key}
    assert service(made_up, process) is None
    os.utime(path, (now + 60, now + 60))
    assert made_up.refresh(now + 60.1) == {process.key}
    assert service(made_up, process) == "shop"


def test_a_touch_alone_is_no_change(made_up, proc):
    path = proc.write(7)
    assert watched(made_up, proc.process(7)) == "shop"
    later = path.stat().st_mtime + 20
    os.utime(path, (later, later))
    assert made_up.refresh(later + 1) == set()


def test_what_an_earlier_process_with_the_pid_left_behind_names_nobody(made_up, proc):
    path = proc.write(7)
    before = time.time() - 5
    os.utime(path, (before, before))
    assert watched(made_up, proc.process(7)) is None


def test_a_file_of_another_user_names_nobody(made_up, proc, caplog):
    path = proc.write(7)
    os.chown(path, 4321, 4321)
    process = proc.process(7, uid=1234)
    assert watched(made_up, process) is None
    for _ in range(2):
        assert made_up.refresh(time.time()) == set()
    assert "owned by uid 4321" in caplog.text
    os.chown(path, 1234, 1234)
    assert made_up.refresh(time.time()) == {process.key}


def test_a_file_that_root_wrote_before_the_process_gave_up_its_rights_counts(made_up, proc):
    proc.write(7)
    assert watched(made_up, proc.process(7, uid=1234)) == "shop"


@pytest.mark.parametrize("bad", ["nothing=here\n", "\\uzz", "x" * 70_000])
def test_a_bad_file_is_named_once_and_mends_itself(made_up, proc, caplog, bad):
    path = proc.write(7)
    path.write_text(bad)
    process = proc.process(7)
    assert watched(made_up, process) is None
    assert caplog.text == "", "it may be half written"
    for _ in range(3):
        assert made_up.refresh(time.time()) == set()
    assert caplog.text.count("agent_metadata.refused") == 1
    proc.write(7)
    assert made_up.refresh(time.time()) == {process.key}


@pytest.mark.parametrize(
    "trick", ["link to the file", "link to the directory", "pipe", "directory"]
)
def test_what_is_no_plain_file_names_nobody_and_holds_nothing_up(made_up, proc, tmp_path, trick):
    path, elsewhere = proc.write(7), tmp_path / "elsewhere"
    process = proc.process(7)
    path.rename(elsewhere)
    match trick:
        case "link to the file":
            path.symlink_to(elsewhere)
        case "link to the directory":
            path.parent.rmdir()
            elsewhere.rename(proc.write(8))
            path.parent.symlink_to("8")
        case "pipe":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
    assert watched(made_up, process) is None
    assert made_up.refresh(time.time()) == set()


def test_a_long_directory_is_not_listed_and_its_files_are_still_found(made_up, proc, monkeypatch):
    monkeypatch.setattr(watch, "_STRANGERS", 3)
    for stranger in range(1000, 1020):
        proc.write(stranger)
    first, second = proc.process(7), proc.process(8)
    proc.write(8)
    assert watched(made_up, first) is None
    assert watched(made_up, second) == "shop"
    proc.write(7)
    assert made_up.refresh(time.time()) == {first.key}


def test_all_metadata_together_has_a_bound(made_up, proc, monkeypatch):
    monkeypatch.setattr(watch, "_MAX_KEPT", 300)
    for pid in range(10, 20):
        proc.write(pid)
        watched(made_up, proc.process(pid))
    kept = made_up.figures.agents
    assert 0 < kept < 10
    for pid in range(10, 20):
        made_up.forget(proc.process(pid).key)
    assert made_up._kept == 0
    assert watched(made_up, proc.process(19)) == "shop"


def test_the_number_of_processes_has_a_bound(made_up, proc, monkeypatch):
    monkeypatch.setattr(watch, "_MAX_WATCHED", 3)
    for pid in range(10, 20):
        watched(made_up, proc.process(pid))
    assert made_up.figures[:4] == (3, 1, 0, 7)


def test_what_is_forgotten_leaves_nothing_behind(made_up, proc):
    for pid in range(10, 20):
        proc.write(pid)
        watched(made_up, proc.process(pid))
    for pid in range(10, 20):
        made_up.forget(proc.process(pid).key)
        made_up.forget(proc.process(pid).key)
    assert made_up.figures == (0, 0, 0, 0, 0, 0)
    assert made_up._kept == 0


def test_two_processes_with_one_pid_of_their_own_are_told_apart_by_their_user(made_up, proc):
    os.chown(proc.write(1), 1001, 1001)
    mine = proc.process(100, own_pid=1, uid=1001)
    other = proc.process(200, own_pid=1, uid=1002)
    assert watched(made_up, mine) == "shop"
    assert watched(made_up, other) is None


def test_an_exec_that_brings_another_tmpdir_is_followed(made_up, proc):
    proc.write(7)
    process = proc.process(7)
    assert watched(made_up, process) == "shop"
    (proc.tmp / "new").mkdir()
    after = replace(proc.process(7, environ=b"TMPDIR=/tmp/new\0"), image=2)
    proc.write(7).unlink()
    assert watched(made_up, after) is None
    assert made_up.figures.directories == 2


def test_where_tmpdir_is_not_there_or_is_not_used_the_common_one_is_looked_at(made_up, proc):
    proc.write(7)
    assert watched(made_up, proc.process(7, environ=b"TMPDIR=/nowhere\0")) == "shop"
    (proc.tmp / "own").mkdir()
    process = proc.process(8, environ=b"TMPDIR=/tmp/own\0")
    assert watched(made_up, process) is None
    proc.write(8, "java")
    assert made_up.refresh(time.time()) == {process.key}
    assert service(made_up, process) == "java"


def test_its_own_tmpdir_counts_before_the_common_one(made_up, proc):
    own = proc.tmp / "own" / "apache_skywalking" / "process" / "7"
    own.mkdir(parents=True)
    (own / "metadata.properties").write_text(NAMES.format(service="own"))
    proc.write(7, "common")
    process = proc.process(7, environ=b"TMPDIR=/tmp/own\0")
    assert watched(made_up, process) == "own"
    (own / "metadata.properties").unlink()
    assert made_up.refresh(time.time()) == {process.key}
    assert service(made_up, process) == "common"


def test_a_file_that_is_written_anew_at_each_look_is_taken_now_and_then(made_up, proc):
    process, now, seen = proc.process(7), time.time(), []
    for number in range(100):
        path = proc.write(7, f"s{number}")
        now += 3
        os.utime(path, (now, now))
        if process.key in made_up.refresh(now) or number == 0:
            watched(made_up, process)
            seen.append(service(made_up, process))
    assert 8 <= len(set(seen)) <= 20
    now += 31
    os.utime(path, (now, now))
    made_up.refresh(now)
    assert service(made_up, process) == "s99", "the latest is taken in the end"


def test_what_is_known_outlives_the_child_that_read_it(made_up, proc, eventually):
    path = proc.write(7)
    process = proc.process(7)
    assert watched(made_up, process) == "shop"
    first = made_up.reads.child_pid
    os.kill(first, 9)
    eventually(lambda: made_up.reads.child_pid not in {0, first})
    made_up.refresh(time.time())
    assert service(made_up, process) == "shop"
    path.write_text(NAMES.format(service="store"))
    eventually(lambda: made_up.refresh(time.time()) and service(made_up, process) == "store")
    proc.write(8)
    made_up.refresh(time.time())
    assert watched(made_up, proc.process(8)) == "shop"


def test_what_the_child_had_no_answer_to_is_looked_at_again_after_a_while(
    made_up, proc, monkeypatch
):
    proc.write(7)
    monkeypatch.setattr(watch, "_AVOIDED_S", 0.01)
    real = made_up.reads.received

    def failing():
        return [
            Answer(wire.DEFECT, [each.serial], b"boom") if each.serial else each for each in real()
        ]

    process = proc.process(7)
    with monkeypatch.context() as broken:
        broken.setattr(made_up.reads, "received", failing)
        assert watched(made_up, process) is None
        assert "boom" in made_up.obstacle(process.key)
        assert not made_up.is_pending(process.key)
    time.sleep(0.02)
    made_up.refresh(time.time())
    assert (service(made_up, process), made_up.obstacle(process.key)) == ("shop", "")


def test_a_tmpdir_on_a_server_is_not_touched_and_said_once(made_up, proc, caplog):
    caplog.set_level(logging.INFO)
    proc.write(7)
    mounts = Path("/proc/self/mountinfo").read_text()
    process = proc.process(7, mountinfo=re.sub(r" - [^ ]+ ", " - nfs4 ", mounts))
    assert watched(made_up, process) is None
    assert made_up.refresh(time.time()) == set()
    assert caplog.text.count("agent_sensor.avoided") == 1
    assert "nfs4" in made_up.obstacle(process.key)


def test_missing_access_is_said_once(made_up, proc, caplog):
    caplog.set_level(logging.INFO)
    for pid in range(10, 20):
        process = proc.process(pid)
        hidden = replace(process, place=process.place._replace(tmpdir=""))
        made_up.watch(hidden, time.time())
    assert caplog.text.count("agent_sensor.denied") == 1
    assert made_up.figures.refused == 10


def test_two_thousand_processes_in_three_namespaces_cost_under_a_millisecond_a_look(proc):
    sensor = Looked(str(proc.root))
    for pid in range(1, 2001):
        process = proc.process(pid)
        place = process.place._replace(mount_namespace=pid % 3)
        sensor.watch(replace(process, place=place), time.time())
    proc.write(1000)
    sensor.refresh(time.time())
    assert sensor.figures[:4] == (2000, 3, 1, 0)
    best = min(_cpu_time(sensor) for _ in range(20))
    sensor.reads.stop()
    assert best < 0.001


def _cpu_time(sensor):
    before = time.thread_time()
    sensor.sensor.refresh(time.time())
    return time.thread_time() - before
