"""The whole agent on the real kernel and a real gRPC server."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent_rig import BY_PID, ROVER, RunningAgent, row_of, running

from rover.backend import EmbeddedBackend

pytestmark = pytest.mark.kernel

Spawn = Callable[..., "subprocess.Popen[bytes]"]

PREFORK = """
import os, signal
for _ in range(8):
    if os.fork() == 0:
        signal.pause()
signal.pause()
"""


@pytest.fixture
def backend() -> Iterator[EmbeddedBackend]:
    with EmbeddedBackend() as server:
        yield server


@pytest.fixture
def agent(backend: EmbeddedBackend, tmp_path: Path) -> Iterator[RunningAgent]:
    with running(backend, tmp_path, config=BY_PID) as agent:
        agent.wait_for(os.getpid())
        yield agent


class Programs:
    """Copies of a program that sleeps, each under a name, and so an entity, of its own."""

    def __init__(self, folder: Path) -> None:
        self.original = folder / "sleep"
        shutil.copy("/bin/sleep", self.original)
        self.made = 0

    def __call__(self, name: str = "") -> Path:
        self.made += 1
        path = self.original.with_name(name or f"program-{os.getpid()}-{self.made}")
        path.hardlink_to(self.original)
        return path


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    folder = tmp_path / "programs"
    folder.mkdir()
    return Programs(folder)


def loaded_programs() -> set[int]:
    """Ids of the agent's eBPF programs in the kernel, by their names."""
    libbpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
    libbpf.bpf_prog_get_fd_by_id.restype = ctypes.c_int
    number, found = ctypes.c_uint32(), set()
    while libbpf.bpf_prog_get_next_id(number, ctypes.byref(number)) == 0:
        descriptor = libbpf.bpf_prog_get_fd_by_id(number)
        if descriptor < 0:
            continue
        info, size = ctypes.create_string_buffer(256), ctypes.c_uint32(256)
        libbpf.bpf_obj_get_info_by_fd(descriptor, info, ctypes.byref(size))
        os.close(descriptor)
        # struct bpf_prog_info: name is 16 bytes at offset 64
        if info.raw[64:80].rstrip(b"\0") in {b"on_exec", b"on_fork", b"on_exit"}:
            found.add(number.value)
    return found


def test_processes_that_start_while_the_agent_starts_are_reported_exactly_once(
    backend: EmbeddedBackend, tmp_path: Path, programs: Programs, spawn: Spawn
):
    before = [spawn(programs(), "600").pid for _ in range(150)]
    with running(backend, tmp_path):
        during = []
        for _ in range(150):
            during.append(spawn(programs(), "600").pid)
            time.sleep(0.005)
        pids = {*before, *during}
        held = backend.state.wait_for(
            lambda held: pids <= {row.pid for row in held.processes if row.visible}, 20
        )
    for pid in pids:
        rows = [row for row in held.processes if row.pid == pid]
        assert len(rows) == 1
        assert rows[0].reports == 1
    assert not held.violations


def test_a_start_is_at_the_backend_within_a_second_and_an_end_stops_its_beats(
    backend: EmbeddedBackend, tmp_path: Path, programs: Programs, spawn: Spawn
):
    options = ("--set", "process_discovery.heartbeat_period=1s")
    with running(backend, tmp_path, *options) as agent:
        backend.state.wait_for(lambda held: held.processes)
        began = time.monotonic()
        child = spawn(programs("here-and-gone"), "600")
        row = agent.wait_for(child.pid)
        assert time.monotonic() - began < 1
        assert row.entity.process == "here-and-gone"
        backend.state.wait_for(lambda held: row_of(held, child.pid).pings >= 3)
        child.kill()
        child.wait()
        gone = time.monotonic()
        others = len(backend.state.snapshot().calls)
        backend.state.wait_for(lambda held: len(held.calls) >= others + 4)
        last = row_of(backend.state.snapshot(), child.pid).last_ping
        assert last.monotonic < gone + 0.5


def test_properties_are_those_of_the_contract(agent: RunningAgent, spawn: Spawn):
    child = spawn("/bin/sleep", "60.25")
    row = agent.wait_for(child.pid)
    properties = dict(row.properties)
    assert properties.pop("host_ip") not in ("", "127.0.0.1")
    assert properties == {
        "pid": str(child.pid),
        "command_line": "/bin/sleep 60.25",
        "support_ebpf_profiling": "true",
    }


def test_forked_workers_are_reported_each(agent: RunningAgent, spawn: Spawn, eventually: Callable):
    server = spawn(sys.executable, "-c", PREFORK)
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children")
    pids = eventually(lambda: (found := children.read_text().split()) and len(found) == 8 and found)
    for pid in [server.pid, *map(int, pids)]:
        assert "signal.pause" in agent.wait_for(pid).properties["command_line"]
    for pid in map(int, pids):
        os.kill(pid, signal.SIGKILL)


def test_a_chain_of_execs_is_reported_under_its_last_name(agent: RunningAgent, spawn: Spawn):
    child = spawn("/bin/sh", "-c", "exec /bin/sh -c 'exec sleep 60.5'")
    assert agent.wait_for(child.pid).entity.process == f"sleep-{child.pid}"
    held = agent.backend.state.snapshot()
    assert len([row for row in held.processes if row.pid == child.pid]) == 1


def test_a_reused_pid_is_reported_as_what_it_is_now(
    agent: RunningAgent, spawn: Spawn, programs: Programs, eventually: Callable
):
    first = spawn(programs("first"), "60")
    agent.wait_for(first.pid)
    first.kill()
    first.wait()
    second_program = programs("second")

    def reuse() -> subprocess.Popen[bytes] | None:
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(first.pid - 1))
        again = spawn(second_program, "60")
        return again if again.pid == first.pid else None

    second = eventually(reuse)
    name = f"second-{second.pid}"
    agent.backend.state.wait_for(
        lambda held: any(r.entity.process == name and r.visible for r in held.processes)
    )


def test_a_follower_takes_over_when_the_leader_of_its_entity_ends(
    backend: EmbeddedBackend, tmp_path: Path, programs: Programs, spawn: Spawn
):
    program = programs("twins")
    elder, younger = spawn(program, "60"), None
    with running(backend, tmp_path) as agent:
        agent.wait_for(elder.pid)
        younger = spawn(program, "61")
        marker = spawn(programs(), "60")
        agent.wait_for(marker.pid)  # what came before it has been told
        held = backend.state.snapshot()
        assert [row.pid for row in held.processes if row.entity.process == "twins"] == [elder.pid]
        elder.kill()
        elder.wait()
        assert agent.wait_for(younger.pid, within=10).entity.process == "twins"
        held = backend.state.snapshot()
    assert [row.pid for row in held.processes if row.entity.process == "twins"] == [younger.pid]
    assert not held.violations


def test_what_calls_itself_strangely_is_reported_and_hurts_no_other(
    agent: RunningAgent, spawn: Spawn
):
    # no single argument may be longer than 128 KiB
    long = [f"{number:0100000d}" for number in range(20)]
    children = {
        "long": spawn("/bin/sh", "-c", "sleep 60; :", *long),
        "bytes": spawn("/bin/sh", "-c", "sleep 60; :", b"\xff\xfe \xc3(", "\N{GRINNING FACE}"),
        "control": spawn("/bin/sh", "-c", "sleep 60; :", "\x01\x1b[31m\n\t"),
        "empty": spawn("", executable="/bin/cat", stdin=subprocess.PIPE),
    }
    rows = {name: agent.wait_for(child.pid) for name, child in children.items()}
    assert "\N{REPLACEMENT CHARACTER}" in rows["bytes"].properties["command_line"]
    assert "\N{GRINNING FACE}" in rows["bytes"].properties["command_line"]
    assert rows["long"].properties["command_line"].startswith("/bin/sh -c sleep 60; : 0000")
    assert rows["empty"].properties["command_line"] == ""
    assert len(json.dumps(dict(rows["long"].properties))) < 50_000
    held = agent.backend.state.snapshot()
    assert not held.dropped
    assert not held.violations


def test_a_killed_agent_leaves_no_probe_and_no_child_and_comes_back_under_its_id(
    backend: EmbeddedBackend, tmp_path: Path, eventually: Callable
):
    with running(backend, tmp_path) as agent:
        held = backend.state.wait_for(lambda held: held.processes)
        first = {row.agent_id for row in held.processes}
        mine = programs_of(agent.pid)
        assert len(mine) == 3
        threads = Path(f"/proc/{agent.pid}/task").iterdir()
        children = [pid for each in threads for pid in (each / "children").read_text().split()]
        told = b"".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children)
        assert b"rover.foreign.child" in told
        assert b"rover.binaries.child" in told
        agent.process.kill()
        agent.process.wait()
    eventually(lambda: not loaded_programs() & mine)
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))
    backend.state.forget()
    with running(backend, tmp_path):
        held = backend.state.wait_for(lambda held: held.processes)
    assert {row.agent_id for row in held.processes} == first
    assert len(first) == 1


def programs_of(pid: int) -> set[int]:
    """Return the ids of the eBPF programs that a process holds."""
    held = set()
    for place in Path(f"/proc/{pid}/fdinfo").iterdir():
        with contextlib.suppress(OSError):
            held |= {int(number) for number in re.findall(r"prog_id:\s+(\d+)", place.read_text())}
    return held


def test_sigterm_ends_the_agent_in_time_with_a_last_report_and_no_probe_left(
    backend: EmbeddedBackend,
    tmp_path: Path,
    programs: Programs,
    spawn: Spawn,
    eventually: Callable,
):
    with running(backend, tmp_path) as agent:
        backend.state.wait_for(lambda held: held.processes)
        last = spawn(programs("last"), "60")
        time.sleep(0.12)  # it has just settled
        own = programs_of(agent.pid)
        assert own <= loaded_programs()
        assert agent.terminate() < 5
        assert agent.process.returncode == 0
    held = backend.state.snapshot()
    assert any(row.pid == last.pid for row in held.processes)
    # the kernel frees them after all processors are through with them
    assert len(own) == 3
    eventually(lambda: not own & loaded_programs())


def test_sigterm_ends_the_agent_in_time_without_any_backend(
    backend: EmbeddedBackend, tmp_path: Path, eventually: Callable
):
    backend.stop()
    with running(backend, tmp_path) as agent:
        eventually(lambda: "started version" in agent.log.read_text())
        assert agent.terminate() < 5
        assert agent.process.returncode == 0


def test_a_second_agent_on_the_host_refuses_to_start(backend: EmbeddedBackend, tmp_path: Path):
    with running(backend, tmp_path) as agent:
        backend.state.wait_for(lambda held: held.processes)
        second = subprocess.run(
            [ROVER, "start", "--state-dir", str(tmp_path / "state")],
            capture_output=True, text=True, check=False, timeout=20,
        )  # fmt: skip
    assert second.returncode == 1
    assert str(agent.pid) in second.stderr
    assert "Traceback" not in second.stderr


def test_after_an_outage_everything_is_reported_again(
    backend: EmbeddedBackend, tmp_path: Path, programs: Programs, spawn: Spawn
):
    early = spawn(programs("early"), "60")
    with running(backend, tmp_path, environment={"ROVER_BACKEND_CHECK_PERIOD": "1"}) as agent:
        agent.wait_for(early.pid)
        backend.faults.refuse()
        late = spawn(programs("late"), "60")
        time.sleep(1)  # an outage
        backend.faults.clear()
        backend.restart(keep_memory=False)
        agent.wait_for(early.pid, within=20)
        agent.wait_for(late.pid)


WITHOUT_TRACING = ("setpriv", "--bounding-set=-bpf,-perfmon,-sys_admin", "--inh-caps=-all")


def test_without_ebpf_the_agent_scans_and_says_why(
    backend: EmbeddedBackend, tmp_path: Path, programs: Programs, spawn: Spawn
):
    scan = {"ROVER_PROCESS_DISCOVERY_SCAN_PERIOD": "500ms"}
    with running(backend, tmp_path, wrap=WITHOUT_TRACING, environment=scan) as agent:
        backend.state.wait_for(lambda held: held.processes)
        child = spawn(programs("scanned"), "60")
        assert agent.wait_for(child.pid).entity.process == "scanned"
        log = agent.log.read_text()
    assert "eBPF does not work here" in log
    assert re.search("tracefs is not mounted|missing CAP_", log)


def test_where_ebpf_is_required_its_absence_ends_the_agent(
    backend: EmbeddedBackend, tmp_path: Path
):
    options = ("--require-ebpf",)
    with running(backend, tmp_path, *options, wrap=WITHOUT_TRACING) as agent:
        assert agent.process.wait(20) == 1
    log = agent.log.read_text()
    assert re.search("rover: (tracefs|the kernel refused)", log)
    assert "Traceback" not in log


def test_an_agent_has_an_allocator_that_gives_memory_back_and_keeps_its_name(
    agent: RunningAgent,
):
    here = Path(f"/proc/{agent.pid}")
    assert b"PYTHONMALLOC=malloc" in (here / "environ").read_bytes().split(b"\0")
    assert (here / "comm").read_text() == "rover\n"


def test_sigterm_ends_an_agent_whose_loader_hangs(
    backend: EmbeddedBackend, tmp_path: Path, eventually: Callable
):
    with running(backend, tmp_path) as agent:
        loader = wait_for_loader(agent.pid)
        os.kill(loader, signal.SIGSTOP)
        # the command is imported while the loader runs already
        eventually(lambda: "session: state=connecting" in agent.log.read_text())
        assert agent.terminate() < 5
        assert agent.process.returncode == 0
        assert not Path(f"/proc/{loader}").exists()
    assert "eBPF does not work" not in agent.log.read_text()


def test_ctrl_c_during_the_start_ends_all_of_it_without_a_word_of_trouble(
    tmp_path: Path, spawn: Spawn, eventually: Callable
):
    with (tmp_path / "log").open("w+") as log:
        options = ("--embedded", "--state-dir", str(tmp_path / "state"))
        agent = spawn(ROVER, "start", *options, stdout=log, stderr=log, start_new_session=True)
        loader = wait_for_loader(agent.pid)
        eventually(lambda: "state=connecting" in (tmp_path / "log").read_text())
        os.killpg(agent.pid, signal.SIGINT)
        assert agent.wait(5) == 0
        assert not Path(f"/proc/{loader}").exists()
        log.seek(0)
        said = log.read()
    assert "Traceback" not in said
    assert "eBPF does not work" not in said


def test_a_status_port_that_is_taken_is_told_before_anything_is_reported(
    backend: EmbeddedBackend, tmp_path: Path
):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with running(backend, tmp_path, "--set", f"status.addr={address}") as agent:
            assert agent.process.wait(10) == 1
    assert f"cannot serve status on {address}" in agent.log.read_text()
    assert not backend.state.snapshot().processes


def wait_for_loader(agent: int, within: float = 10.0) -> int:
    """Wait until the agent's child that loads the programs runs."""
    deadline = time.monotonic() + within
    children = Path(f"/proc/{agent}/task/{agent}/children")
    while time.monotonic() < deadline:
        for child in children.read_text().split():
            with contextlib.suppress(OSError):
                if b"import loader" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
        time.sleep(0.005)
    raise AssertionError(f"no loader within {within:g} s")
