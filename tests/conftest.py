"""Fixtures that every room's tests share."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from kernel import KernelTests, obstacle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytest_plugins = ["pytester"]

# a shell has what it starts in the background ignore Ctrl-C, and what is tested would inherit that
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# a busy machine makes no claim false
hypothesis.settings.register_profile("rover", deadline=None)
hypothesis.settings.load_profile("rover")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(KernelTests(obstacle()), "kernel-tests")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Where tests run beside each other, let those that see the whole host take turns."""
    from turns import Turns  # noqa: PLC0415 - pytest-xdist is there where its hook is called

    return Turns(config, log)


@pytest.fixture
def spawn() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start programs that are ended with the test; each has its own arguments and environment."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str, **options: object) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(arguments, **options)
        started.append(process)
        _wait_for_exec(process.pid)
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                stream.close()


def _wait_for_exec(pid: int) -> None:
    """Wait until /proc shows the new program.

    Popen returns as soon as the exec closes its pipe: the kernel has still to lay out the stack
    then, and shows no arguments and no environment until it has. env_end and start_stack, fields 51
    and 28 of proc(5), are 0 at first, but not for as long as a large environment takes; start_brk,
    field 47, is set at the end by newer kernels.
    """
    deadline = time.monotonic() + 10.0
    while time.monotonic() < deadline:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        if fields[0] in "ZX" or "0" not in (fields[48], fields[44], fields[25]):
            return
        time.sleep(0.001)
    pytest.fail(f"pid {pid} has not begun its program within 10 s")


@pytest.fixture
def eventually() -> Callable[..., object]:
    """Wait until a condition gives something true, and return it."""

    def wait(condition: Callable[[], object], within: float = 20.0) -> object:
        deadline = time.monotonic() + within
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > deadline:
                pytest.fail(f"not within {within:g} s; last seen: {value!r}")
            time.sleep(0.01)

    return wait
