"""Where a host grants too little, one line says which limit it is and what is needed."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rover.host_limits import FILES, exhausted

ROVER = Path(sys.executable).with_name("rover")
COMMANDS = (["start", "--backend-addr", "127.0.0.1:1"], ["start", "--embedded"], ["backend"])


def said(folder: Path, wrap: list[str], command: list[str]) -> tuple[int, str]:
    state = ["--state-dir", str(folder / "state")] if command[0] == "start" else []
    done = subprocess.run(
        [*wrap, ROVER, *command, *state], capture_output=True, timeout=30, check=False
    )
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_few_descriptors_end_a_start_with_one_line(tmp_path, command):
    code, line = said(tmp_path, ["prlimit", "--nofile=16"], command)
    assert (code, line.count("\n")) == (1, 1)
    assert "RLIMIT_NOFILE allows 16" in line
    assert any(f"needs {FILES + each} file descriptors" in line for each in range(4, 4096, 4))


@pytest.mark.skipif(os.getuid() != 0, reason="root alone can become another user")
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_few_tasks_end_a_start_with_one_line(tmp_path, command):
    nobody = ["setpriv", "--reuid=65534", "--clear-groups", "prlimit", "--nproc=4"]
    code, line = said(tmp_path, nobody, command)
    assert (code, line.count("\n")) == (1, 1), line
    assert "RLIMIT_NPROC is 4 for all that uid 65534 runs" in line


@pytest.fixture
def small_cgroup():
    root = Path("/sys/fs/cgroup/pids")
    root = root if root.is_dir() else Path("/sys/fs/cgroup")
    folder = root / f"rover-test-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / "pids.max").write_text("8")
    except OSError as error:
        if folder.is_dir():
            folder.rmdir()
        pytest.skip(f"no cgroup to be had: {error}")
    yield folder
    folder.rmdir()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_cgroup_with_few_pids_ends_a_start_with_one_line(tmp_path, small_cgroup, command):
    enter = ["sh", "-c", f'echo $$ > {small_cgroup}/cgroup.procs; exec "$@"', "sh"]
    code, line = said(tmp_path, enter, command)
    assert (code, line.count("\n")) == (1, 1), line
    assert "pids.max is 8, of which" in line


def test_an_error_about_a_limit_is_told_as_such_and_no_other_is():
    assert "RLIMIT_NOFILE" in exhausted(OSError(errno.EMFILE, "Too many open files"))
    assert "fs.file-max" in exhausted(OSError(errno.ENFILE, "Too many open files in system"))
    assert "cannot start a thread" in exhausted(RuntimeError("can't start new thread"))
    assert not exhausted(OSError(errno.ENOENT, "No such file"))
    assert not exhausted(RuntimeError("dictionary changed size"))
