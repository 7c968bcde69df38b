"""Do something in a thread that cannot read files below /proc, where the kernel has Landlock.

BCC looks into /proc/kallsyms whether the kernel has bpf_probe_read_kernel, which takes more than
half of the time that compiling takes: 120,000 lines are read, kept and sorted. Nothing in the
programs hangs on the answer (bpf/read.h), and where the file cannot be opened BCC goes on without.

The standard library alone: the loader's child imports this. Landlock is Linux 5.13's
(Documentation/userspace-api/landlock.rst), takes no rights, and holds for the thread alone.
"""

from __future__ import annotations

import ctypes
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# the same on all architectures that were made since 2011, and on x86
CREATE_RULESET: Final = 444
ADD_RULE: Final = 445
RESTRICT_SELF: Final = 446
# of include/uapi/linux/landlock.h
RULESET_VERSION: Final = 1
PATH_BENEATH: Final = 1
READ_FILE: Final = 1 << 2
LOG_SAME_EXEC_OFF: Final = 1
LOGS_SINCE: Final = 7
"""The version that tells the audit log of what it refuses, unless it is told not to."""
PR_SET_NO_NEW_PRIVS: Final = 38


class _Ruleset(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64),)


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def run(step: Callable[[], T]) -> T:
    """Return what a step returns, which runs in a thread of its own; it may raise as well."""
    results: list[T] = []
    failures: list[BaseException] = []

    def confined() -> None:
        try:
            confine()
            results.append(step())
        except BaseException as error:  # noqa: BLE001 - the caller's
            failures.append(error)

    thread = threading.Thread(target=confined)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def landlock_version() -> int:
    """Return which version of Landlock the kernel has; below 1 where it has none."""
    version: int = ctypes.CDLL(None).syscall(CREATE_RULESET, None, 0, RULESET_VERSION)
    return version


def confine() -> bool:
    """Keep this thread from reading files below /proc; tell whether that could be done."""
    version = landlock_version()
    if version < 1:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    ruleset = _Ruleset(READ_FILE)
    rules = libc.syscall(CREATE_RULESET, ctypes.byref(ruleset), ctypes.sizeof(ruleset), 0)
    if rules < 0:
        return False
    try:
        for place in Path("/").iterdir():
            if place.name != "proc":
                _allow(libc, rules, place)
        flags = LOG_SAME_EXEC_OFF if version >= LOGS_SINCE else 0
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        return bool(libc.syscall(RESTRICT_SELF, rules, flags) == 0)
    finally:
        os.close(rules)


def _allow(libc: ctypes.CDLL, rules: int, place: Path) -> None:
    """Let files be read below a place; what cannot be opened or has no files needs no rule."""
    try:
        descriptor = os.open(place, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    rule = _Beneath(READ_FILE, descriptor)
    libc.syscall(ADD_RULE, rules, PATH_BENEATH, ctypes.byref(rule), 0)
    os.close(descriptor)
