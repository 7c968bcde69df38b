"""Discovery on the real kernel: nothing missed, nothing wrong, whatever processes do."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import leaders
import pytest
from census_rig import Rig, running

from rover.discovery import procfs
from rover.discovery.census import Census
from rover.discovery.procfs import ProcReader
from rover.discovery.procfs_text import KernelThread, parse_status
from rover.model import Process, Reason, Verdict
from rover.probes import pid_namespace
from rover.probes.layout import Counter

pytestmark = pytest.mark.kernel

Spawn = Callable[..., "subprocess.Popen[bytes]"]

PREFORK = """
import os, signal, sys
for _ in range(8):
    if os.fork() == 0:
        signal.pause()
print("ready", flush=True)
signal.pause()
"""

THREAD_EXECS = """
import os, threading, time
threading.Thread(target=lambda: (time.sleep(0.3), os.execv("/bin/sleep", ["sleep", "61"]))).start()
time.sleep(60)
"""

WAYS = {
    "raw tracepoints": {"way": "raw tracepoints"},
    "tracepoints": {"way": "tracepoints"},
    "tracepoints of an older kernel": {"way": "tracepoints", "without_group_dead": True},
}
"""All ways of attaching; an older kernel's exit does not say whether it is the process's last."""
if pid_namespace.own():  # where tests/integration/test_pid_namespaces.py runs this file
    WAYS = {"raw tracepoints": WAYS["raw tracepoints"]}


@pytest.fixture(params=WAYS)
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with running(**WAYS[request.param]) as rig:
        yield rig


@pytest.fixture
def plain_rig() -> Iterator[Rig]:
    with running() as rig:
        yield rig


def test_a_new_process_is_known_with_its_facts(plain_rig: Rig, spawn: Spawn, tmp_path: Path):
    child = spawn("/bin/sleep", "60.5", cwd=tmp_path)
    process = plain_rig.seen.wait_for(child.pid)
    assert process.exe.endswith("/sleep")
    assert process.command_line == "/bin/sleep 60.5"
    assert (process.ppid, process.uid, process.cwd) == (os.getpid(), os.getuid(), str(tmp_path))
    assert process.cgroup == Path(f"/proc/{child.pid}/cgroup").read_text().rstrip("\n")
    assert process.pid_namespace == Path("/proc/self/ns/pid").stat().st_ino
    assert process.mount_namespace == Path("/proc/self/ns/mnt").stat().st_ino


def test_every_process_of_the_first_scan_is_known_and_no_kernel_thread(plain_rig: Rig):
    reader = ProcReader()
    for report in list(plain_rig.seen.entities.values()):
        assert not isinstance(reader.read(report.process.pid), KernelThread)
    assert plain_rig.seen.process(os.getpid()) is not None
    # they are the host's namespace's alone
    assert (2 in plain_rig.census.kernel_threads) == pid_namespace.is_hosts()


def test_an_exit_is_known_at_once(rig: Rig, spawn: Spawn):
    child = spawn("/bin/sleep", "60")
    rig.seen.wait_for(child.pid)
    child.kill()
    rig.seen.wait_for(child.pid, gone=True)


def test_what_ends_before_it_settles_is_never_read(eventually: Callable):
    with running(settle_time=1.0) as rig:  # a slow machine takes its time for each
        before = rig.reader.reads
        counters = rig.probes.counters()
        for _ in range(50):
            subprocess.run(["/bin/true"], check=True)
        eventually(
            lambda: rig.probes.counters()[Counter.UNSETTLED] >= counters[Counter.UNSETTLED] + 50
        )
        # others on this machine may have started something that lives
        assert rig.reader.reads - before < 25


def test_workers_forked_without_exec_are_known(rig: Rig, spawn: Spawn, eventually: Callable):
    server = spawn(sys.executable, "-c", PREFORK, stdout=subprocess.PIPE)
    assert server.stdout.readline() == b"ready\n"
    children = eventually(
        lambda: (
            Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
            if Path(f"/proc/{server.pid}").exists()
            else None
        )
    )
    assert len(children) == 8
    for pid in [server.pid, *map(int, children)]:
        process = rig.seen.wait_for(pid)
        assert "signal.pause" in process.command_line
    for pid in map(int, children):
        os.kill(pid, 9)
        rig.seen.wait_for(pid, gone=True)


@pytest.mark.parametrize("way", WAYS)
def test_a_chain_of_execs_ends_in_one_process_with_the_last_name(spawn: Spawn, way: str):
    with running(settle_time=1.0, **WAYS[way]) as rig:  # a slow machine takes its time for four
        child = spawn("/bin/sh", "-c", "exec /bin/sh -c 'exec /usr/bin/env sleep 62'")
        process = rig.seen.wait_for(child.pid)
        assert process.command_line == "sleep 62"
        assert rig.seen.times_announced(child.pid) == 1


def test_an_exec_of_a_known_process_changes_its_record(
    rig: Rig, spawn: Spawn, eventually: Callable
):
    child = spawn("/bin/sh", "-c", "read line; exec sleep 63", stdin=subprocess.PIPE)
    before = rig.seen.wait_for(child.pid)
    assert before.exe_name != "sleep"
    child.stdin.write(b"\n")
    child.stdin.flush()
    after = eventually(lambda: (p := rig.seen.process(child.pid)) and p.exe_name == "sleep" and p)
    assert after.key == before.key
    assert rig.census.figures.execs >= 1


def test_a_process_lives_on_when_its_leader_ends_and_is_gone_with_its_last_thread(
    rig: Rig, spawn: Spawn, eventually: Callable
):
    source = leaders.PYTHON
    child = spawn(sys.executable, "-c", source, stdin=subprocess.PIPE)
    rig.seen.wait_for(child.pid)
    eventually(lambda: ") Z " in Path(f"/proc/{child.pid}/stat").read_text())
    time.sleep(0.3)  # nothing is to happen
    assert rig.seen.process(child.pid) is not None
    child.stdin.close()
    child.stdin = None
    rig.seen.wait_for(child.pid, gone=True)


@pytest.fixture(scope="session")
def leader_ends(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program whose first thread ends after some milliseconds, and whose second goes on."""
    return leaders.build(tmp_path_factory.mktemp("c"))


def test_every_process_whose_leader_ends_within_the_settle_time_is_known_and_told_once(
    rig: Rig, spawn: Spawn, leader_ends: Path, eventually: Callable
):
    children = [spawn(str(leader_ends), str(3 * number)) for number in range(50)]
    name = str(leader_ends)
    for child in children:
        eventually(lambda pid=child.pid: rig.seen.times_announced(pid, name))
    for child in children:
        child.kill()
        rig.seen.wait_for(child.pid, gone=True)
    assert [rig.seen.times_announced(child.pid, name) for child in children] == [1] * 50
    assert rig.census.figures.repairs_new == 0


def test_a_process_without_leader_is_not_told_again_by_a_comparison(
    rig: Rig, spawn: Spawn, leader_ends: Path, eventually: Callable
):
    child = spawn(str(leader_ends), "200")
    rig.seen.wait_for(child.pid)
    eventually(lambda: ") Z " in Path(f"/proc/{child.pid}/stat").read_text())

    def deep(census: Census) -> None:
        census._lost = True
        census.reconcile()

    rig.discovery.inspect(deep)
    assert rig.census.figures.deep_reconciles == 1
    assert rig.seen.times_announced(child.pid) == 1
    assert rig.seen.process(child.pid) is not None


def test_a_process_without_leader_is_read_through_its_threads(spawn: Spawn, eventually: Callable):
    source = leaders.PYTHON
    child = spawn(sys.executable, "-c", source, stdin=subprocess.PIPE)
    eventually(lambda: ") Z " in Path(f"/proc/{child.pid}/stat").read_text())
    process = ProcReader().read(child.pid)
    assert "syscall" in process.command_line
    assert process.exe
    assert process.namespace_pid == child.pid


def test_a_process_whose_leader_ends_while_it_is_read_is_read_through_the_thread_it_made_meanwhile(
    spawn: Spawn, monkeypatch: pytest.MonkeyPatch, eventually: Callable
):
    source = "input()\n" + leaders.PYTHON
    child = spawn(sys.executable, "-c", source, stdin=subprocess.PIPE)
    reader = ProcReader()

    def end_the_leader(text: bytes) -> tuple[int, int]:
        child.stdin.write(b"\n")
        child.stdin.flush()
        eventually(lambda: ") Z " in Path(f"/proc/{child.pid}/stat").read_text())
        return parse_status(text)

    assert reader.stat(child.pid).threads == 1
    monkeypatch.setattr(procfs, "parse_status", end_the_leader)
    process = reader.read(child.pid)
    assert process.leaderless
    assert "syscall" in process.command_line


def test_a_process_reaped_while_it_is_read_is_gone_and_no_refusal(
    spawn: Spawn, monkeypatch: pytest.MonkeyPatch
):
    # readlink(2) of its links then says EACCES, as where access rights keep them back
    child = spawn("/bin/sleep", "70")
    reader = ProcReader()

    def reap(text: bytes) -> tuple[int, int]:
        child.kill()
        child.wait()
        return parse_status(text)

    monkeypatch.setattr(procfs, "parse_status", reap)
    assert reader.read(child.pid) is None
    assert not reader.unreadable.files


def test_the_exec_of_a_thread_keeps_the_process(rig: Rig, spawn: Spawn, eventually: Callable):
    child = spawn(sys.executable, "-c", THREAD_EXECS)
    before = rig.seen.wait_for(child.pid)
    after = eventually(
        lambda: (p := rig.seen.process(child.pid)) and p.command_line == "sleep 61" and p
    )
    assert after.key == before.key


def test_a_reused_pid_is_another_process(rig: Rig, spawn: Spawn, eventually: Callable):
    first = spawn("/bin/sleep", "64")
    before = rig.seen.wait_for(first.pid)
    first.kill()
    first.wait()

    def reuse() -> subprocess.Popen[bytes] | None:
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(first.pid - 1))
        again = spawn("/bin/sleep", "65")
        return again if again.pid == first.pid else None

    second = eventually(reuse)
    after = eventually(
        lambda: (p := rig.seen.process(second.pid)) and p.command_line.endswith("65") and p
    )
    assert after.key != before.key
    assert after.key.pid == before.key.pid
    assert before.key in rig.judge.forgotten


def test_without_ebpf_scans_find_starts_execs_and_exits(spawn: Spawn, eventually: Callable):
    with running(ebpf=False) as rig:
        child = spawn("/bin/sh", "-c", "read line; exec sleep 66", stdin=subprocess.PIPE)
        rig.seen.wait_for(child.pid)
        child.stdin.write(b"\n")
        child.stdin.flush()
        eventually(lambda: (p := rig.seen.process(child.pid)) and p.exe_name == "sleep")
        child.kill()
        child.wait()
        rig.seen.wait_for(child.pid, gone=True)


def sizes(*, pending: int = 1_024, overflow: int = 16_384, ring_pages: int = 64) -> dict[str, int]:
    return {
        "ROVER_PENDING_ENTRIES": pending,
        "ROVER_OVERFLOW_ENTRIES": overflow,
        "ROVER_TRACKED_ENTRIES": 65_536,
        "ROVER_RING_PAGES": ring_pages,
    }


@pytest.mark.parametrize("way", [way for way in WAYS if "older" not in way])
def test_what_the_small_map_has_no_room_for_is_known_all_the_same(spawn: Spawn, way: str):
    with running(sizes=sizes(pending=4), settle_time=0.5, way=way) as rig:
        for _ in range(2):  # the second time after it has been empty again
            ended, lasting = [], []
            for _ in range(20):
                lasting += [spawn("/bin/sleep", "67") for _ in range(2)]
                ended.append(spawn("/bin/sleep", "67"))
                ended[-1].kill()  # at once: a slow machine would let it settle
                ended[-1].wait()
            for child in lasting:
                rig.seen.wait_for(child.pid, within=10)
            assert not any(rig.seen.times_announced(child.pid) for child in ended)
            assert all(rig.seen.times_announced(child.pid) == 1 for child in lasting)
        figures = rig.census.figures
        assert (figures.lost_pending, figures.repairs_new, figures.lost_events) == (0, 0, 0)
        assert figures.execs == 0


def test_a_full_pending_map_is_counted_and_healed(spawn: Spawn):
    with running(sizes=sizes(pending=4, overflow=4), settle_time=0.5) as rig:
        children = [spawn("/bin/sleep", "67") for _ in range(40)]
        for child in children:
            rig.seen.wait_for(child.pid, within=10)
        assert rig.census.figures.lost_pending > 0
        assert rig.census.figures.repairs_new > 0


def test_a_full_ring_is_counted_and_healed(spawn: Spawn):
    with running(sizes=sizes(ring_pages=1)) as rig:
        # 4096 bytes hold 170 events
        children = [spawn("/bin/sleep", "68") for _ in range(400)]
        for child in children:
            rig.seen.wait_for(child.pid)
        # the discovery thread does not look for a while, as on a machine that is overloaded
        busy = threading.Thread(target=rig.discovery.inspect, args=(lambda _: time.sleep(1.5),))
        busy.start()
        for child in children:
            child.kill()
        for child in children:
            child.wait()
        for child in children:
            rig.seen.wait_for(child.pid, gone=True)
        busy.join()
        assert rig.census.figures.lost_events > 0
        assert rig.census.figures.repairs_gone > 0


def test_a_process_that_the_judge_fails_on_hurts_no_other(spawn: Spawn):
    with running() as rig:
        judge = rig.judge.judge

        def failing(process: Process) -> Verdict:
            if process.exe_name == "cat":
                raise ZeroDivisionError("division by zero")
            return judge(process)

        rig.judge.judge = failing
        bad = spawn("/bin/cat", stdin=subprocess.PIPE)
        good = spawn("/bin/sleep", "69")
        rig.seen.wait_for(good.pid)
        why = rig.discovery.inspect(lambda census: census.why(bad.pid))
        assert why.reason is Reason.DEFECT
        assert "division by zero" in why.detail


STAGE = """
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
int main(int count, char **arguments)
{
	char byte;
	if (strcmp(arguments[1], "init")) /* so are its arguments runc's own, as runc has them */
		return execl("/proc/self/exe", "runc", "init", (char *)0);
	prctl(PR_SET_NAME, "runc:[2:INIT]");
	while (read(0, &byte, 1) > 0)
		;
	return execl("/bin/sleep", "sleep", "71", (char *)0);
}
"""


def test_a_runtimes_stage_is_not_known_before_it_has_become_the_containers_program(
    rig: Rig, spawn: Spawn, tmp_path: Path, eventually: Callable
):
    program = tmp_path / "runc"
    subprocess.run(["cc", "-x", "c", "-", "-o", program], input=STAGE, text=True, check=True)
    child = spawn(str(program), "create", stdin=subprocess.PIPE)
    eventually(lambda: b"init" in Path(f"/proc/{child.pid}/cmdline").read_bytes())
    other = spawn("/bin/sleep", "72")
    rig.seen.wait_for(other.pid)  # and so has the stage settled
    rig.discovery.inspect(Census.reconcile)
    child.stdin.close()
    child.stdin = None
    eventually(lambda: rig.seen.times_announced(child.pid, "sleep 71"))
    assert rig.seen.times_announced(child.pid, "sleep 71") == 1
    # of what came before its exec a slow machine may have told
    assert rig.seen.times_announced(child.pid, "runc init") == 0
