"""Loading the programs where hosts differ: headers, rights, tracefs, namespaces."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rover.probes import loading, refusals, without_proc

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]
HEADERS = ROOT / ".venv" / "kernel-headers"
ENOUGH = ("bpf", "perfmon", "sys_ptrace", "dac_read_search", "sys_resource")

HAS_LANDLOCK = without_proc.landlock_version() > 0

LOAD = """
import sys
from rover.errors import ProbeError
from rover.probes import programs
try:
    loaded = programs.load(**eval(sys.argv[1]))
except ProbeError as error:
    sys.exit(str(error))
print(loaded.way, loaded.headers, *loaded.missing, sep=", ")
print(loaded.not_better, file=sys.stderr)
"""
RAW = "raw tracepoints, shim\n"
TRACEPOINTS = "tracepoints, shim\n"
BY_TRACEPOINTS = "{'way': 'tracepoints'}"


def load(*, prepare: str = "true", rights: tuple[str, ...] | None = None, request: str = "{}"):
    """Load in a mount namespace of its own, after `prepare`, with these capabilities."""
    command = [sys.executable, "-c", LOAD, request]
    if rights is not None:
        bounding = ",".join(["-all", *(f"+{name}" for name in rights)])
        command = ["setpriv", f"--bounding-set={bounding}", "--inh-caps=-all", *command]
    return subprocess.run(
        ["unshare", "--mount", "sh", "-ec", f'{prepare}; exec "$@"', "sh", *command],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


TRACEFS = "mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing"
# of this mount namespace: as often as it is mounted, and where debugfs shows it
NO_TRACEFS = (
    "while mountpoint -q /sys/kernel/tracing; do umount -l /sys/kernel/tracing; done; "
    "! [ -d /sys/kernel/debug ] || mount -t tmpfs none /sys/kernel/debug"
)


def test_no_kernel_headers_and_no_libc_headers_are_needed():
    hidden = "mount -t tmpfs none /usr/include; mount -t tmpfs none /lib/modules || true"
    result = load(prepare=f"mkdir -p /lib/modules; {hidden}")
    assert result.stdout == RAW, result.stderr


@pytest.mark.skipif(not HAS_LANDLOCK, reason="this kernel has no Landlock")
@pytest.mark.parametrize("way", ["raw tracepoints", "tracepoints"])
def test_the_kernels_symbols_are_not_read_for_that_takes_longer_than_to_compile(
    way: str, tmp_path: Path
):
    # nobody writes into it: who opens it waits
    symbols = f"mkfifo {tmp_path}/symbols; mount --bind {tmp_path}/symbols /proc/kallsyms"
    result = load(prepare=f"{TRACEFS}; {symbols}", request=f"{{'way': '{way}', 'timeout': 30}}")
    assert result.stdout == f"{way}, shim\n", result.stderr


@pytest.mark.parametrize("way", ["raw tracepoints", "tracepoints"])
def test_the_programs_compile_with_the_headers_of_a_distribution(way: str):
    assert (HEADERS / "build").exists(), "make dev unpacks kernel headers here"
    modules = f"/lib/modules/{os.uname().release}"
    places = f"ln -s {HEADERS}/build {HEADERS}/source {modules}/"
    tree = f"mkdir -p /lib/modules; mount -t tmpfs none /lib/modules; mkdir {modules}; {places}"
    result = load(prepare=tree, request=f"{{'headers': 'host', 'way': '{way}'}}")
    assert result.stdout == f"{way}, host\n", result.stderr


def test_tracefs_is_mounted_for_the_loader_alone():
    # in a mount namespace that shares its changes with the loader's, as a host does
    prepare = f"mount --make-rshared /; {NO_TRACEFS}"
    mounts = BY_TRACEPOINTS
    result = load(prepare=prepare, request=mounts)
    assert result.stdout == TRACEPOINTS, result.stderr
    check = subprocess.run(
        [
            "unshare", "--mount", "sh", "-ec",
            f'{prepare}; "$@"; grep -c " /sys/kernel/tracing tracefs " /proc/self/mounts || true',
            "sh", sys.executable, "-c", LOAD, mounts,
        ],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    assert check.stdout == TRACEPOINTS + "0\n"


def test_without_tracefs_and_the_right_to_mount_it_the_message_says_how_to():
    result = load(prepare=NO_TRACEFS, rights=ENOUGH, request=BY_TRACEPOINTS)
    assert result.returncode == 1
    assert "tracefs is not mounted and cannot be mounted" in result.stderr
    assert "mount -t tracefs tracefs /sys/kernel/tracing" in result.stderr


def test_the_documented_capabilities_are_enough_without_tracefs():
    result = load(prepare=NO_TRACEFS, rights=ENOUGH)
    assert result.stdout == RAW, result.stderr


PARANOID = int(Path("/proc/sys/kernel/perf_event_paranoid").read_text())
NO_BTF = "mount -t tmpfs none /sys/kernel/btf"


def test_a_kernel_without_btf_has_its_tracepoints_attached_and_the_reason_told():
    rights = ENOUGH if PARANOID <= 2 else (*ENOUGH, "sys_admin")  # as a stock Debian asks for
    result = load(prepare=f"{TRACEFS}; {NO_BTF}", rights=rights)
    assert result.stdout == TRACEPOINTS, result.stderr
    assert "cannot read /sys/kernel/btf/vmlinux: No such file" in result.stderr


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("'ROVER_TASK_TGID': 0", "was not told by its pid"),
        ("'ROVER_SIGNAL_LIVE': 0", "do not hold: the end of"),
        ("'ROVER_TASK_SIGNAL': 0", "do not hold: the end of"),
    ],
)
def test_offsets_that_do_not_hold_are_not_trusted(wrong: str, told: str):
    result = load(request=f"{{'offsets': {{{wrong}}}}}")
    assert result.stdout == TRACEPOINTS, result.stderr
    assert told in result.stderr


def test_where_neither_way_works_both_are_told():
    result = load(prepare=f"{NO_TRACEFS}; {NO_BTF}", rights=ENOUGH)
    assert result.returncode == 1
    assert "by raw tracepoints: no offsets of the kernel's structures" in result.stderr
    assert "By tracepoints: tracefs is not mounted" in result.stderr


@pytest.mark.parametrize("missing", ["bpf", "perfmon"])
def test_a_missing_capability_is_named(missing: str):
    rights = tuple(name for name in ENOUGH if name != missing)
    result = load(rights=rights)
    assert result.returncode == 1
    assert f"missing CAP_{missing.upper()}" in result.stderr
    assert f"capabilities.add: [{missing.upper()}]" in result.stderr


NEST = ("unshare", "--pid", "--fork")


def in_namespaces(*wrap: str, request: str = "{}") -> subprocess.CompletedProcess[str]:
    command = [*wrap, sys.executable, "-c", LOAD, request]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_another_pid_namespace_than_that_of_proc_is_refused():
    result = in_namespaces(*NEST)
    assert result.returncode == 1
    assert "hostPID: true" in result.stderr


@pytest.mark.parametrize("levels", [1, 2])
def test_in_a_pid_namespace_of_its_own_raw_tracepoints_are_attached(levels: int):
    result = in_namespaces(*(*NEST, "--mount-proc") * levels)
    assert result.stdout == RAW, result.stderr


def test_tracepoints_are_refused_in_a_pid_namespace_for_they_have_the_hosts_pids():
    result = in_namespaces(*NEST, "--mount-proc", request=BY_TRACEPOINTS)
    assert result.returncode == 1
    assert "pids of the host" in result.stderr


@pytest.mark.parametrize("wrong", ["ROVER_TASK_PID_STRUCT", "ROVER_UPID_BYTES", "ROVER_PID_LEVEL"])
def test_offsets_of_pids_that_do_not_hold_are_not_trusted(wrong: str):
    request = f"{{'offsets': {{'{wrong}': 4096}}}}"
    result = in_namespaces(*NEST, "--mount-proc", request=request)
    assert result.returncode == 1
    assert "was not told by its pid" in result.stderr


def test_a_user_namespace_of_its_own_is_named():
    result = in_namespaces("unshare", "--user", "--map-root-user")
    assert result.returncode == 1
    assert "a user namespace of its own" in result.stderr
    assert "hostUsers: true" in result.stderr


def test_a_missing_tracepoint_does_not_stop_the_others():
    event = "/sys/kernel/tracing/events/task/task_newtask"
    prepare = f"{TRACEFS}; mount -t tmpfs none {event}"
    result = load(prepare=prepare, request=BY_TRACEPOINTS)
    assert result.stdout == "tracepoints, shim, task:task_newtask\n", result.stderr


def test_the_loader_ends_with_an_agent_that_is_killed(
    spawn: Callable[..., subprocess.Popen[bytes]], eventually: Callable
):
    agent = spawn(sys.executable, "-c", LOAD, "{}", cwd=ROOT)
    children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children")
    child = eventually(lambda: children.read_text().strip())
    eventually(lambda: b"import loader" in Path(f"/proc/{child}/cmdline").read_bytes())
    agent.send_signal(signal.SIGKILL)
    agent.wait()
    eventually(lambda: not Path(f"/proc/{child}").exists())


def test_a_loader_whose_agent_has_died_before_it_began_does_nothing():
    ours, theirs = socket.socketpair()
    ours.close()
    with theirs:
        run = subprocess.run(
            [
                *(sys.executable, "-I", "-c", loading.LOADER.format(module="loader"), str(ROOT)),
                *(str(theirs.fileno()), "no request"),
            ],
            pass_fds=(theirs.fileno(),), capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_a_loader_that_hangs_is_ended_and_said_to_have():
    result = load(request="{'timeout': 0.05}")
    assert result.returncode == 1
    assert "was killed after 0.05 s without an answer" in result.stderr


def test_no_call_is_forbidden_to_root_and_asking_leaves_nothing_open():
    before = set(Path("/proc/self/fd").iterdir())
    assert refusals.forbidden_calls() == {}
    assert set(Path("/proc/self/fd").iterdir()) == before
