"""Which tests need the kernel's eBPF, and that none of them is skipped where it could run."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from pathlib import Path

import pytest

SYS_BPF = {"x86_64": 321, "aarch64": 280}
INITIAL_PID_NAMESPACE = 0xEFFFFFFC
IN_NAMESPACE = "ROVER_TESTS_IN_PID_NAMESPACE"
"""Variable with which tests/integration/test_pid_namespaces.py runs others in one of its own."""


def obstacle() -> str | None:
    """Say why this machine cannot run eBPF programs, whatever is installed; None if it can."""
    if os.geteuid() != 0:
        return "not root"
    if "tracefs" not in Path("/proc/filesystems").read_text():
        return "the kernel has no tracefs"
    nested = Path("/proc/self/ns/pid").stat().st_ino != INITIAL_PID_NAMESPACE
    if nested and os.environ.get(IN_NAMESPACE) != "1":
        return "in a pid namespace of its own"
    number = SYS_BPF.get(os.uname().machine)
    if number is None:
        return f"unknown system call number of bpf on {os.uname().machine}"
    libc = ctypes.CDLL(None, use_errno=True)
    # BPF_PROG_LOAD without attributes: EINVAL where bpf(2) may be used
    libc.syscall(number, 5, None, 0)
    if ctypes.get_errno() in (errno.EPERM, errno.ENOSYS):
        return f"bpf(2): {os.strerror(ctypes.get_errno())}"
    return None


LACKS = "not installed: "
"""How the reason of a skip begins that is for a tool."""


def needs(*tools: str) -> pytest.MarkDecorator:
    """Skip a test where one of these programs is not there."""
    missing = [tool for tool in tools if not shutil.which(tool)]
    return pytest.mark.skipif(bool(missing), reason=f"{LACKS}{' '.join(missing)}")


class KernelTests:
    """Skips kernel tests where the machine cannot run them, and fails a run that skips others.

    Not for those that lack a tool which `make test` could not install: that is said, with its name.
    """

    def __init__(self, reason: str | None) -> None:
        self.reason = reason
        self.skipped: list[str] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self.reason is None:
            return
        for item in items:
            if item.get_closest_marker("kernel"):
                item.add_marker(pytest.mark.skip(reason=f"no eBPF here: {self.reason}"))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and "kernel" in report.keywords and LACKS not in str(report.longrepr):
            self.skipped.append(report.nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.skipped and self.reason is None:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.skipped and self.reason is None:
            terminalreporter.section("kernel tests skipped although this machine can run them")
            for name in self.skipped:
                terminalreporter.line(name)
