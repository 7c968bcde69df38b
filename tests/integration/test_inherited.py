"""Whoever starts the command may have closed its streams, blocked its signals, left it little."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from rover import console
from rover.host_limits import _task_limit

START = (sys.executable, "-m", "rover.console", "start", "--config", "/nowhere/at/all")


@pytest.mark.parametrize("closed", ["0<&- 1>&- 2>&-", "2>&-", "0<&- 2>&-"])
def test_it_ends_as_it_does_with_them(closed):
    quoted = " ".join(f"'{word}'" for word in START)
    shell = subprocess.run(["/bin/sh", "-c", f"{quoted} {closed}"], check=False)
    assert shell.returncode == 2, "the configuration cannot be read"


def test_a_limit_of_address_space_is_named_where_no_thread_can_be_had():
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30));"
        "from rover.host_limits import _task_limit; print(_task_limit(20, '/nowhere'))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    if os.getuid() == 0:
        assert "RLIMIT_AS is 1073741824 bytes" in told.stdout
    assert _task_limit(20, "/nowhere") != told.stdout.strip()


def test_signals_that_were_blocked_come_and_children_can_be_waited_for():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})
    ignored = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        console._take_signals()
        assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())
        assert signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        signal.signal(signal.SIGCHLD, ignored)
