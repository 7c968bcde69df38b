"""The commands as a user types them: what they print, and how they end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from agent_rig import ROVER

from rover import __version__

Spawn = Callable[..., "subprocess.Popen[bytes]"]


ROOT = Path(__file__).parents[2]
READ = """
import sys
from pathlib import Path
from rover.config.yaml_file import read
from rover.errors import ConfigError
try:
    read(Path(sys.argv[1]))
except ConfigError as error:
    print(error)
"""


def rover(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROVER, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("asked", ["version", "--version", "-V"])
def test_version_is_told(asked: str):
    said = rover(asked)
    assert (said.returncode, said.stdout) == (0, f"rover {__version__}\n")


def test_help_lists_every_command_in_one_line():
    text = rover("--help").stdout
    for command in ("start", "backend", "ps", "id", "config", "log-level", "version"):
        assert f"\n  {command} " in text
        assert rover(command, "--help").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("start", "--nonsense"), "No such option"),
        (("nonsense",), "No such command"),
        (("strat",), "Did you mean 'start'?"),
        (("loglevel", "debug"), "Did you mean 'log-level'?"),
        (("config", "chek", "x"), "chek"),
        (("ps", "x"), "not a valid integer"),
        (("id", "--set", "core.cluster_name"), "is not KEY=VALUE"),
        (("id", "--set", "core.clustr_name=x"), "core.cluster_name"),
        (("id", "--set", "process_discovery.heartbeat_period=often"), "heartbeat_period"),
        (("id", "--log-level", "LOUD"), "logger.level"),
        (("id", "--config", "/nowhere/rover.yaml"), "/nowhere/rover.yaml"),
    ],
)
def test_wrong_usage_ends_with_2_and_one_message(arguments: tuple[str, ...], told: str):
    said = rover(*arguments)
    assert said.returncode == 2
    assert told in said.stderr
    assert "Traceback" not in said.stderr


def test_every_error_of_a_file_is_told_with_its_line_and_key(tmp_path: Path):
    file = tmp_path / "rover.yaml"
    file.write_text(
        "core:\n"
        "  backend:\n"
        "    adr: oap:11800\n"
        "process_discovery:\n"
        "  heartbeat_period: [20s]\n"
        "  ignore:\n"
        "    - '('\n"
        "  scanner:\n"
        "    mode: REGEX\n"
        "    regex:\n"
        "      - match_cmd: nginx\n"
        "        service_name: '{{.Process.Exename}}'\n"
    )
    said = rover("start", "--config", str(file), "--state-dir", str(tmp_path))
    assert said.returncode == 2
    for line, key in (
        (3, "core.backend.adr"),
        (5, "process_discovery.heartbeat_period"),
        (7, "process_discovery.ignore"),
        (12, "process_discovery.scanner.regex[0].service_name"),
    ):
        told = [text for text in said.stderr.splitlines() if f"{file}:{line}" in text]
        assert told, said.stderr
        assert key in told[0]
    assert "core.backend.addr" in said.stderr
    assert "Traceback" not in said.stderr


def test_the_id_is_the_same_at_each_call_and_another_for_another_directory(tmp_path: Path):
    first = rover("id", "--state-dir", str(tmp_path / "a")).stdout
    assert len(first) == 37
    assert rover("id", "--state-dir", str(tmp_path / "a")).stdout == first
    assert rover("id", "--state-dir", str(tmp_path / "b")).stdout != first


def test_ps_shows_what_would_be_reported_and_why_the_rest_would_not(tmp_path: Path, spawn: Spawn):
    program = tmp_path / "only-here"
    program.symlink_to("/bin/sleep")
    ignored = spawn("/bin/sleep", "60.75")
    reported = spawn("/bin/sleep", "61")
    found = rover(
        "ps", "-o", "json", "--set", r"process_discovery.ignore=sleep 60\.75",
        "--state-dir", str(tmp_path),
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    rows = {row["pid"]: row for row in json.loads(found.stdout)}
    assert rows[ignored.pid]["reason"] == "matches an ignore rule"
    assert rows[ignored.pid]["detail"] == r"sleep 60\.75"
    assert rows[reported.pid]["entities"][0]["process"] == "sleep"
    assert rows[reported.pid]["command_line"] == "/bin/sleep 61"
    assert 2 not in rows


def test_ps_explains_a_kernel_thread_when_asked(tmp_path: Path):
    if not Path("/proc/2/comm").exists():
        pytest.skip("no kernel threads are seen in this pid namespace")
    (row,) = json.loads(rover("ps", "2", "-o", "json", "--state-dir", str(tmp_path)).stdout)
    assert (row["name"], row["reason"]) == ("kthreadd", "kernel thread")


def test_ps_has_a_line_a_process_for_people(tmp_path: Path, spawn: Spawn):
    child = spawn("/bin/sh", "-c", "sleep 62; :", "\x1b[31mred\n")
    text = rover("ps", str(child.pid), "--state-dir", str(tmp_path)).stdout
    header, line = text.splitlines()
    assert header.split() == ["PID", "LAYER", "SERVICE", "INSTANCE", "PROCESS", "STATUS", "COMMAND"]
    assert line.split()[:2] == [str(child.pid), "OS_LINUX"]
    assert "\x1b" not in line


def test_ps_of_no_process_ends_with_1(tmp_path: Path):
    said = rover("ps", "4194303", "--state-dir", str(tmp_path))
    assert (said.returncode, said.stdout) == (1, "")
    assert "no process has pid 4194303" in said.stderr


def test_a_secret_is_printed_nowhere(tmp_path: Path):
    secret = "not-to-be-seen"  # noqa: S105 - made up
    shown = rover("config", "show", ROVER_BACKEND_AUTHENTICATION=secret)
    assert shown.returncode == 0
    assert "ROVER_BACKEND_AUTHENTICATION" in shown.stdout
    assert secret not in shown.stdout + shown.stderr
    assert (
        secret
        not in rover("ps", "--state-dir", str(tmp_path), ROVER_BACKEND_AUTHENTICATION=secret).stdout
    )


HIDE = 'mount -t proc -o hidepid=2 proc /proc && exec "$@"'


@pytest.mark.kernel
def test_a_proc_that_hides_processes_gives_fewer_facts_and_one_warning(
    tmp_path: Path, spawn: Spawn
):
    child = spawn("/bin/sleep", "63")
    # without the right to look into others, as another user
    command = [
        "setpriv",
        "--bounding-set=-all",
        "--inh-caps=-all",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ]
    said = subprocess.run(
        ["unshare", "--mount", "sh", "-c", HIDE, "sh", *command, str(ROVER), "ps", "-o", "json",
         "--state-dir", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert child.pid not in {row["pid"] for row in json.loads(said.stdout)}
    assert said.stderr.count("/proc is mounted with hidepid=") == 1
    visible = subprocess.run(
        [*command, str(ROVER), "ps", str(child.pid), "-o", "json", "--state-dir", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    (row,) = json.loads(visible.stdout)
    assert (row["exe"], row["command_line"]) == ("", "/bin/sleep 63")
    assert visible.stderr.count("/proc keeps back") == 1
    assert "CAP_SYS_PTRACE" in visible.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed")
@pytest.mark.parametrize(
    ("folder_mode", "file_mode", "told"),
    [
        (0o755, 0o600, "it is uid 0's with mode 0600, and this runs as uid 65534"),
        (0o700, 0o644, "uid 65534 may not enter {folder}"),
    ],
)
def test_a_file_that_may_not_be_read_is_told_with_the_reason(
    folder_mode: int, file_mode: int, told: str
):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "rover.yaml"
        file.write_text("core: {cluster_name: x}")
        file.chmod(file_mode)
        folder.chmod(folder_mode)
        said = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c",
             READ, file],
            capture_output=True, text=True, check=False, cwd=ROOT,
        )  # fmt: skip
        assert told.format(folder=folder) in said.stdout, said.stderr
