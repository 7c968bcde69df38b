"""The child that reads what others may hold up: replaced, left behind, ended."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import fuse
import pytest

from rover.discovery.procfs import ProcReader
from rover.foreign import supervisor
from rover.foreign.blame import Blame
from rover.foreign.direct import DirectReads
from rover.foreign.process import Child
from rover.foreign.reads import ForeignReads
from rover.foreign.records import Found, Look
from rover.foreign.walk import identity_of
from rover.foreign.wire import LIST

ME = Blame(os.getpid(), 0)
LIMIT = 65_536


@pytest.fixture
def reads() -> Iterator[ForeignReads]:
    reads = ForeignReads()
    reads.start()
    yield reads
    reads.stop()


def line_of(reads: ForeignReads, blame: Blame = ME) -> bytes | None:
    found = reads.answer(reads.ask([blame], LIMIT, with_place=False)[0])
    return found.command_line if found else None


OWN_LINE = Path("/proc/self/cmdline").read_bytes()


def test_what_it_reads_is_what_the_kernel_says(reads, spawn, eventually):
    child = spawn("sleep", "600", env={"TMPDIR": "/var/tmp"})  # noqa: S108
    assert eventually(lambda: line_of(reads)) == OWN_LINE
    (serial,) = reads.ask([Blame(child.pid, 0)], LIMIT, with_place=True)
    found = reads.answer(serial)
    assert found
    assert (found.command_line, found.tmpdir) == (b"sleep\x00600\x00", b"/var/tmp")
    assert (found.command_line_errno, found.place_errno) == (0, 0)


def test_many_are_asked_for_at_once_and_answered_in_any_order(reads, spawn, eventually):
    assert eventually(lambda: line_of(reads))
    children = [spawn("sleep", str(600 + number)) for number in range(20)]
    serials = reads.ask([Blame(child.pid, 0) for child in children], LIMIT, with_place=False)
    for number in reversed(range(20)):
        found = reads.answer(serials[number])
        assert found
        assert found.command_line == b"sleep\x00%d\x00" % (600 + number)


def test_a_process_that_is_gone_gives_an_errno(reads, spawn, eventually):
    child = spawn("sleep", "600")
    child.kill()
    child.wait()
    assert eventually(lambda: line_of(reads))
    found = reads.answer(reads.ask([Blame(child.pid, 0)], LIMIT, with_place=True)[0])
    assert found
    assert found.command_line_errno
    assert found.place_errno


def test_the_child_keeps_two_rights_and_its_own_sockets_alone(reads, eventually):
    assert eventually(lambda: line_of(reads))
    assert reads._child
    pid = reads._child.pid
    status = Path(f"/proc/{pid}/status").read_text()
    effective = int(status.partition("CapEff:\t")[2].split()[0], 16)
    assert effective & ~((1 << 2) | (1 << 19)) == 0
    assert "NoNewPrivs:\t1" in status
    descriptors = [path.readlink() for path in Path(f"/proc/{pid}/fd").iterdir()]
    assert sum("socket" in str(each) for each in descriptors) == 2
    assert {str(each) for each in descriptors if "socket" not in str(each)} <= {"/dev/null"}
    assert os.getpgid(pid) == pid


def test_the_child_loads_few_modules():
    """Each costs memory for as long as the agent runs: typing alone a megabyte."""
    program = "import sys; sys.path.append(sys.argv[1]); import rover.foreign.child; "
    program += "print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-ISE", "-c", program, str(Path(__file__).parents[2])],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert not {"typing", "dataclasses", "enum", "re", "json", "socket", "threading"} & set(loaded)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_child_that_was_killed_or_stopped_is_replaced(reads, number, eventually):
    assert eventually(lambda: line_of(reads)) == OWN_LINE
    assert reads._child
    first = reads._child.pid
    os.kill(first, number)
    if number == signal.SIGKILL:  # whatever it was at when it ended would be left out
        eventually(lambda: reads._child and reads._child.pid != first)
    assert eventually(lambda: line_of(reads), within=20) == OWN_LINE
    assert reads._child.pid != first
    assert not Path(f"/proc/{first}").exists()


def test_a_child_ends_with_the_agent_that_was_killed(eventually):
    program = (
        "from rover.foreign.reads import ForeignReads; import time; reads = ForeignReads();"
        " reads.start(); print(reads._child.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as agent:
        assert agent.stdout
        child = int(agent.stdout.readline())
        assert Path(f"/proc/{child}").exists()
        agent.kill()
        eventually(lambda: not Path(f"/proc/{child}").exists())


class Misled:
    """A made-up /proc whose mount table says that a FUSE mount is a local one."""

    def __init__(self, folder: Path, place: Path) -> None:
        self.place = place
        self.blame = Blame(7, 0)
        (folder / "7").mkdir(parents=True)
        (folder / "7" / "root").symlink_to(place.parent)
        mounts = Path("/proc/self/mountinfo").read_text()
        (folder / "7" / "mountinfo").write_text(mounts.replace(" - fuse ", " - ext4 "))
        root = os.open(place.parent, os.O_PATH)
        self.root = identity_of(root)
        os.close(root)
        self.reads = ForeignReads(proc=str(folder))

    def look(self, name: str = "x") -> int:
        return self.reads.send(
            LIST, 1, 0, self.root.mount, self.root.inode, 10, 7,
            text=os.fsencode(f"/{self.place.name}/{name}"), look=Look(1, self.blame),
        )  # fmt: skip


@pytest.mark.kernel
def test_children_that_the_kernel_holds_are_left_behind_and_no_more_than_a_few(
    tmp_path, eventually, monkeypatch
):
    monkeypatch.setattr(supervisor, "AGAIN_S", 0.05)
    place = tmp_path / "fuse"
    place.mkdir()
    with fuse.mounted(place, f"{fuse.LOOKUP},{fuse.GETATTR},{fuse.ACCESS}"):
        misled = Misled(tmp_path / "proc", place)
        reads = misled.reads
        reads.start()
        for number in range(1, supervisor.MAX_LEFT_BEHIND + 1):
            misled.blame = Blame(number, 0)
            eventually(misled.look, within=10)
            eventually(lambda number=number: reads.figures().left_behind == number, within=20)
        assert "4 reads hang in the kernel" in eventually(lambda: not reads.works and reads.state())
        assert reads.ask([ME], LIMIT, with_place=False) == [0]
        started = reads.figures().children_started
        began = time.monotonic()
        reads.stop()
        assert time.monotonic() - began < 1.0, "it waits for none of them"
        assert started == supervisor.MAX_LEFT_BEHIND
    # the server is gone: so are they
    eventually(lambda: all(child.has_ended() for child in reads._left_behind), within=10)


@pytest.mark.kernel
def test_who_has_a_child_hang_has_no_other_one_hang(tmp_path, eventually, monkeypatch):
    monkeypatch.setattr(supervisor, "AGAIN_S", 0.05)
    place = tmp_path / "fuse"
    place.mkdir()
    with fuse.mounted(place, f"{fuse.LOOKUP},{fuse.GETATTR},{fuse.ACCESS}"):
        misled = Misled(tmp_path / "proc", place)
        misled.blame = Blame(7, 1000)
        reads = misled.reads
        reads.start()
        misled.look()
        eventually(lambda: reads.figures().left_behind == 1 and reads.works, within=20)
        misled.blame = Blame(8, 1000)
        assert misled.look() == 0
        assert "left out" in reads.why_late(misled.blame)
    eventually(lambda: reads.figures().left_behind == 0, within=10)
    reads.stop()


@pytest.mark.kernel
def test_whose_directories_answer_slowly_is_left_out_and_no_child_ends_by_it(tmp_path, eventually):
    place = tmp_path / "fuse"
    place.mkdir()
    with fuse.mounted(place, "", delay=0.25):
        misled = Misled(tmp_path / "proc", place)
        misled.blame = Blame(7, 1000)
        reads = misled.reads
        reads.start()
        for number in range(6):
            misled.look(f"x{number}")
        eventually(lambda: reads.figures().left_out, within=20)
        assert misled.look("y") == 0
        figures = reads.figures()
        assert (figures.held_up, figures.children_started) == (0, 1)
        misled.blame = Blame(8, 1001)
        assert misled.look("z")
        reads.stop()


def test_what_a_child_was_at_when_it_ended_is_left_out_for_a_while(reads, eventually, caplog):
    assert eventually(lambda: line_of(reads)) == OWN_LINE
    assert reads._child
    os.kill(reads._child.pid, signal.SIGSTOP)
    assert reads.ask([Blame(1, 0)], LIMIT, with_place=False) != [0]
    os.kill(reads._child.pid, signal.SIGKILL)
    eventually(lambda: reads.figures().children_started == 2)
    assert reads.ask([Blame(1, 0)], LIMIT, with_place=False) == [0]
    assert eventually(lambda: line_of(reads)) == OWN_LINE
    assert "pid 1 of uid 0" in caplog.text


@pytest.fixture
def replacing(reads, eventually, monkeypatch):
    """Hold open the moment in which another child is started in place of one that ended."""
    assert eventually(lambda: line_of(reads)) == OWN_LINE
    start, may_start = Child.__init__, threading.Event()

    def slowly(self: Child, proc: str) -> None:
        may_start.wait(20)
        start(self, proc)

    monkeypatch.setattr(Child, "__init__", slowly)
    yield reads
    may_start.set()
    assert eventually(lambda: line_of(reads)) == OWN_LINE


def test_who_is_read_while_a_child_is_replaced_is_late_and_not_without_arguments(
    replacing, eventually
):
    os.kill(replacing.child_pid, signal.SIGKILL)
    eventually(lambda: not replacing.works)
    process = ProcReader(strings=replacing).read(os.getpid())
    assert process
    assert process.command_line == ""
    assert process.late == supervisor.REPLACED
    assert replacing.state() == supervisor.REPLACED


def test_health_names_who_held_a_read_up_while_the_child_is_replaced(replacing, eventually):
    os.kill(replacing.child_pid, signal.SIGSTOP)
    assert replacing.ask([Blame(1, 0)], LIMIT, with_place=False) != [0]
    os.kill(replacing.child_pid, signal.SIGKILL)
    eventually(lambda: not replacing.works)
    assert "on pid 1 of uid 0, which is left out" in replacing.state()


@pytest.mark.kernel
def test_reading_goes_on_once_the_kernel_lets_go(tmp_path, eventually, monkeypatch):
    monkeypatch.setattr(supervisor, "MAX_LEFT_BEHIND", 1)
    monkeypatch.setattr(supervisor, "AGAIN_S", 0.05)
    place = tmp_path / "fuse"
    place.mkdir()
    with fuse.mounted(place, f"{fuse.LOOKUP},{fuse.GETATTR},{fuse.ACCESS}"):
        misled = Misled(tmp_path / "proc", place)
        reads = misled.reads
        reads.start()
        misled.look()
        eventually(lambda: not reads.works and reads.figures().left_behind == 1, within=20)
    eventually(lambda: reads.works, within=10)
    reads.stop()


def test_a_child_that_cannot_be_started_is_told_and_tried_again(eventually, monkeypatch):
    def refused(*_: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(supervisor, "AGAIN_S", 0.05)
    with monkeypatch.context() as broken:
        broken.setattr(Child, "__init__", refused)
        reads = ForeignReads()
        reads.start()
        assert "Resource temporarily unavailable" in reads.state()
        process = ProcReader(strings=reads).read(os.getpid())
        assert process
        assert process.command_line == ""
        assert "Resource temporarily unavailable" in process.late
    assert eventually(lambda: line_of(reads)) == OWN_LINE
    reads.stop()


class Unwilling(DirectReads):
    """Finds other arguments than there are: those of a program in the middle of its exec, say."""

    line, number = b"", 0

    def answer(self, serial: int) -> Found | None:
        found = super().answer(serial)
        return found and found._replace(command_line=self.line, command_line_errno=self.number)


def test_a_program_that_is_being_laid_out_is_read_again():
    strings = Unwilling("/proc")
    reader = ProcReader(strings=strings)
    process = reader.read(os.getpid())
    assert "exec" in process.late
    strings.line = b"\0"  # one empty argument, or none at all, since Linux 5.18
    process = reader.read(os.getpid())
    assert (process.late, process.command_line) == ("", "")


def test_arguments_that_the_kernel_has_no_memory_for_now_are_read_again():
    strings = Unwilling("/proc")
    strings.number = errno.ENOMEM
    assert "ENOMEM" in ProcReader(strings=strings).read(os.getpid()).late
    strings.number = errno.EACCES
    assert ProcReader(strings=strings).read(os.getpid()).late == "", "that would not pass"


def running_children() -> list[str]:
    pids = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    stats = [Path(f"/proc/{pid}/stat") for pid in pids]
    return [text for stat in stats if stat.exists() and " Z " not in (text := stat.read_text())]


def test_nothing_of_it_is_left(eventually):
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(3):
        reads = ForeignReads()
        reads.start()
        line_of(reads)
        reads.stop()
        del reads
    eventually(lambda: not running_children())
    assert len(set(os.listdir("/proc/self/fd")) - before) <= 3  # noqa: PTH208  a bell each
