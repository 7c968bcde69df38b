"""Rows on what processes are called: systemd's units, containers, and a clock that is set."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from census_rig import running

from machines.attaching import PATIENCE, Unit, eventually, system
from rover.backend import EmbeddedBackend
from rover.discovery.census import Census
from rover.discovery.runtime_stage import is_runtime_stage

SLEEP: Final = ("/bin/sleep", "3000")
TEMPLATE: Final = "[Service]\nExecStart=/bin/sleep 3000\n"
INTO_A_CGROUP_OF_ITS_OWN: Final = (
    "mkdir /sys/fs/cgroup/system.slice/delegated.service/below && "
    "echo 0 > /sys/fs/cgroup/system.slice/delegated.service/below/cgroup.procs && "
    "exec /bin/sleep 3000"
)
AS_A_USER: Final = ("env", "XDG_RUNTIME_DIR=/run/user/0", "systemd-run", "--user")
ROOTFS: Final = Path("/var/tmp/rootfs")  # noqa: S108 - the machine is ours alone
HOUR: Final = 3600


def units() -> str:
    """Names by the shipped unit, with no configuration, of what real systemd runs."""
    Path("/etc/systemd/system/templated@.service").write_text(TEMPLATE)
    system("systemctl", "daemon-reload")
    system("systemd-run", "--unit=plain", *SLEEP)
    system("systemctl", "start", r"templated@a\x2db-c.service")
    system("systemd-run", "--unit=dynamic", "--property=DynamicUser=yes", *SLEEP)
    system("systemd-run", "--unit=delegated", "--property=Delegate=yes", "--property=Type=exec",
           "/bin/sh", "-c", INTO_A_CGROUP_OF_ITS_OWN)  # fmt: skip
    system("systemctl", "start", "user@0.service")
    system(*AS_A_USER, "--unit=mine", *SLEEP)
    wanted = {
        _main_pid("plain"): "plain",
        _main_pid(r"templated@a\x2db-c"): "templated@a-b-c",
        _main_pid("dynamic"): "dynamic",
        _main_pid("delegated"): "delegated",
        _main_pid("mine", "--user"): "mine",
    }
    with EmbeddedBackend() as backend:
        unit = Unit(backend.address)
        try:
            with contextlib.suppress(TimeoutError):  # what there is tells more
                eventually(lambda: _services(backend, wanted) == wanted, "all at the backend")
            found = _services(backend, wanted)
        finally:
            unit.stop()
    assert found == wanted, f"got {found}, expected {wanted}"
    return f"ok, {', '.join(wanted.values())}"


def scopes_and_nspawn() -> str:
    """A scope alone has no service, a user's has the user's manager; nspawn has its unit's name."""
    _make_rootfs()
    (ROOTFS / "usr").mkdir(exist_ok=True)
    (ROOTFS / "etc").mkdir(exist_ok=True)
    (ROOTFS / "etc/os-release").write_text("ID=rootfs\n")
    # what systemd-nspawn@.service does, less the boot of another system
    system("systemd-run", "--unit=spawned", "--property=Delegate=yes",
           *("systemd-nspawn", "--quiet", "--keep-unit", "--register=no", f"--directory={ROOTFS}"),
           *("/bin/busybox", "sleep", "3001"))  # fmt: skip
    scope = subprocess.Popen(["systemd-run", "--scope", "--unit=alone", "/bin/sleep", "3002"])
    system("systemctl", "start", "user@0.service")
    users = subprocess.Popen([*AS_A_USER, "--scope", "--unit=users", "/bin/sleep", "3003"])
    wanted = {
        _started("/bin/busybox", "sleep", "3001"): "spawned",
        _started("/bin/sleep", "3002"): os.uname().nodename,
        _started("/bin/sleep", "3003"): "user@0",
    }
    with EmbeddedBackend() as backend:
        unit = Unit(backend.address)
        try:
            with contextlib.suppress(TimeoutError):
                eventually(lambda: _services(backend, wanted) == wanted, "all at the backend")
            found = _services(backend, wanted)
        finally:
            unit.stop()
            for each in (scope, users):
                each.kill()
                each.wait()
            system("systemctl", "stop", "spawned")
    assert found == wanted, f"got {found}, expected {wanted}"
    return f"ok, {', '.join(wanted.values())}"


def _started(*command: str) -> int:
    pid = eventually(lambda: _pid_of(*command), f"the program {' '.join(command)}")
    assert isinstance(pid, int)
    return pid


def _pid_of(*command: str) -> int | None:
    wanted = b"\0".join(part.encode() for part in command) + b"\0"
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (folder / "cmdline").read_bytes() == wanted:
                return int(folder.name)
    return None


def _make_rootfs() -> None:
    (ROOTFS / "bin").mkdir(parents=True, exist_ok=True)
    if not (ROOTFS / "bin/busybox").exists():  # it may be running
        shutil.copy("/bin/busybox", ROOTFS / "bin")


def _main_pid(name: str, *options: str) -> int:
    environment = {**os.environ, "XDG_RUNTIME_DIR": "/run/user/0"}
    shown = subprocess.run(
        ["systemctl", *options, "show", "-P", "MainPID", f"{name}.service"],
        capture_output=True, text=True, check=True, env=environment,
    )  # fmt: skip
    return int(shown.stdout)


def _services(backend: EmbeddedBackend, wanted: dict[int, str]) -> dict[int, str]:
    rows = backend.state.snapshot().processes
    return {row.pid: row.entity.service for row in rows if row.visible and row.pid in wanted}


def containers() -> str:
    """A container by each runtime: its program is told once, the runtime's stage never."""
    _make_rootfs()
    with running(timeout=PATIENCE) as rig:
        for runtime in ("crun", "runc"):
            name = f"by-{runtime}"
            options = ("--detach", "--network=none", f"--name={name}", "--rootfs", str(ROOTFS))
            program = ("/bin/busybox", "sleep", "3000")
            system("podman", f"--runtime={runtime}", "run", *options, *program)
            pid = int(system("podman", "inspect", "--format={{.State.Pid}}", name))
            process = rig.seen.wait_for(pid, within=PATIENCE)
            assert process.command_line == "/bin/busybox sleep 3000", process
            told = [r.process for r in rig.seen.announced if r.process.pid == pid]
            shown = [(each.name, each.exe, each.cgroup, each.command_line) for each in told]
            assert len(told) == 1, f"{runtime}: told as {shown}"
            system("podman", "rm", "--force", "--time=0", name)
            rig.seen.wait_for(pid, gone=True, within=PATIENCE)
        stages = [
            each.process for each in rig.seen.announced if is_runtime_stage(each.process, 0.0)
        ]
    assert not stages, stages
    return "ok, crun and runc"


def containerds() -> str:
    """Ten containers of containerd's at once: each program is told once, runc's stage never."""
    _make_rootfs()
    names = [f"by-containerd-{number}" for number in range(10)]
    with running(timeout=PATIENCE) as rig:
        starting = [
            subprocess.Popen(
                ["ctr", "run", "--detach", "--rootfs", str(ROOTFS), name, "/bin/busybox", "sleep",
                 f"40{number:02}"],
            )
            for number, name in enumerate(names)
        ]  # fmt: skip
        assert [each.wait() for each in starting] == [0] * len(names)
        listed = [line.split() for line in system("ctr", "task", "ls").splitlines()]
        pids = [int(line[1]) for line in listed if line[0] in names]
        assert len(pids) == len(names), listed
        for pid in pids:
            process = rig.seen.wait_for(pid, within=PATIENCE)
            assert process.command_line.startswith("/bin/busybox sleep 40"), process
        told = [rig.seen.times_announced(pid) for pid in pids]
        for name in names:
            system("ctr", "task", "rm", "--force", name)
            system("ctr", "container", "rm", name)
        for pid in pids:
            rig.seen.wait_for(pid, gone=True, within=PATIENCE)
        stages = [
            each.process for each in rig.seen.announced if is_runtime_stage(each.process, 0.0)
        ]
    assert told == [1] * len(names), told
    assert not stages, stages
    return f"ok, {len(names)} of {len(names)}"


def clock() -> str:
    """The wall clock set an hour ahead and back: nothing is told again, all new is told."""
    with running(timeout=PATIENCE) as rig:
        before = subprocess.Popen(SLEEP)
        rig.seen.wait_for(before.pid, within=PATIENCE)
        for step in (HOUR, -2 * HOUR, HOUR):
            time.clock_settime(time.CLOCK_REALTIME, time.time() + step)
            after = subprocess.Popen(SLEEP)
            rig.seen.wait_for(after.pid, within=PATIENCE)
            rig.discovery.inspect(_compare, PATIENCE)
            assert rig.seen.times_announced(after.pid) == rig.seen.times_announced(before.pid) == 1
            after.kill()
            after.wait()
            rig.seen.wait_for(after.pid, gone=True, within=PATIENCE)
        before.kill()
        before.wait()
        figures = rig.census.figures
    assert not figures.repairs_changed, f"{figures.repairs_changed} read again"
    return ""


def _compare(census: Census) -> None:
    census._lost = True  # a deep comparison
    census.reconcile()


ROWS: Final[dict[str, Callable[[], str]]] = {
    "names by systemd's units": units,
    "scopes and nspawn": scopes_and_nspawn,
    "podman's containers": containers,
    "containerd's containers": containerds,
    "the clock set ahead and back": clock,
}
