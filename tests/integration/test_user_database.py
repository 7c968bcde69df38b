"""The real agent while nobody answers who a user is, for `/etc/passwd` is a file that hangs."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from agent_rig import RunningAgent, running

from rover.backend import EmbeddedBackend

NOBODY = 65534
CONFIG = """
process_discovery:
  scanner:
    mode: REGEX
    regex:
      - match_cmd: "sleep 86\\\\d+"
        layer: OS_LINUX
        service_name: test
        instance_name: "{{.Process.User}}"
        process_name: "{{.Process.Pid}}"
      - match_cmd: "sleep 87\\\\d+"
        layer: OS_LINUX
        service_name: test
        instance_name: of-nobody-in-particular
        process_name: "{{.Process.Pid}}"
"""
INSTEAD = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/passwd && exec "$@"')

pytestmark = pytest.mark.kernel


@pytest.fixture
def backend() -> Iterator[EmbeddedBackend]:
    with EmbeddedBackend() as backend:
        yield backend


class Lease:
    """A file that nobody else can open until this lets them, for 45 s at most (fcntl(2))."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT)
        # the signal would end this process, were it not another one
        fcntl.fcntl(self._descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(self._descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)

    def answer(self, text: str) -> None:
        os.pwrite(self._descriptor, text.encode(), 0)
        fcntl.fcntl(self._descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)

    def close(self) -> None:
        os.close(self._descriptor)


@contextmanager
def agent_with_users(
    backend: EmbeddedBackend, tmp_path: Path, database: Path
) -> Iterator[RunningAgent]:
    wrap = (*INSTEAD, str(database))
    with running(backend, tmp_path, config=CONFIG, wrap=wrap) as agent:
        yield agent


def test_processes_are_reported_while_the_user_database_hangs_and_the_agent_is_well_and_ends(
    backend: EmbeddedBackend, tmp_path: Path, spawn: Callable
):
    database = tmp_path / "passwd"
    os.mkfifo(database)  # whoever opens it waits for somebody who writes
    with agent_with_users(backend, tmp_path, database) as agent:
        of_a_user = spawn("sleep", "8601", user=NOBODY)
        assert agent.wait_for(of_a_user.pid).entity.instance == str(NOBODY)
        began = time.monotonic()
        plain = [spawn("sleep", "8701") for _ in range(20)]
        for each in plain:
            assert agent.wait_for(each.pid).entity.instance == "of-nobody-in-particular"
        assert time.monotonic() - began < 10
        told = agent.ask("/healthz")
        assert (told["discovery"], told["reporter"]) == ("works", "works"), told
        assert "getent passwd" in agent.log.read_text()
        assert agent.terminate() < 5
        assert agent.process.returncode == 0


def test_a_process_has_its_users_name_once_the_database_answers(
    backend: EmbeddedBackend, tmp_path: Path, spawn: Callable
):
    with (
        closing(Lease(tmp_path / "passwd")) as database,
        agent_with_users(backend, tmp_path, database.file) as agent,
    ):
        late = spawn("sleep", "8601", user=NOBODY)
        assert agent.wait_for(late.pid).entity.instance == str(NOBODY)
        database.answer("somebody:x:65534:65534::/:/bin/false\n")

        def is_named(held: object) -> bool:
            return any(
                (row.pid, row.entity.instance) == (late.pid, "somebody") for row in held.processes
            )

        backend.state.wait_for(is_named, 30)
