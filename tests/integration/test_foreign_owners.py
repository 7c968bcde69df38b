"""Who is behind the users of a user namespace."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from rover.foreign.blame import Blame
from rover.foreign.owners import NOBODY_KNOWN, owner_of
from rover.foreign.reads import ForeignReads

NESTED = """
import ctypes, os
libc = ctypes.CDLL(None)
os.setgid(65534), os.setuid(65534)
libc.prctl(4, 1, 0, 0, 0)
refused = libc.unshare(0x10000000)
for name, text in ("setgroups", "deny"), ("uid_map", "0 65534 1"), ("gid_map", "0 65534 1"):
    with open(f"/proc/self/{name}", "w") as file:
        file.write(text)
if refused or libc.unshare(0x10000000):
    print("refused", flush=True)
print("inside", flush=True)
input()
"""


def test_the_owner_of_the_outermost_namespace_is_told_and_left_out_with_all_in_it(spawn):
    pipe = subprocess.PIPE
    inside = spawn(sys.executable, "-c", NESTED, stdin=pipe, stdout=pipe)
    if inside.stdout.readline() != b"inside\n":
        pytest.skip("no user namespaces for users")
    assert owner_of(inside.pid) == 65534
    reads = ForeignReads()
    mapped, other = Blame(inside.pid, 100_000), Blame(os.getpid(), 100_001)
    for _ in range(3):
        reads._blames.slow(reads._blamed(mapped), 0.6, time.monotonic())
    assert reads._blames.pause(reads._owned(mapped), time.monotonic())
    assert not reads._blames.pause(reads._owned(other), time.monotonic())
    assert reads._blames.pause(Blame(1, 65534), time.monotonic()), "its maker is the same"


def test_processes_of_the_agents_own_namespace_have_none_and_neither_have_those_that_are_gone():
    assert owner_of(os.getpid()) == NOBODY_KNOWN
    assert owner_of(2**30) == NOBODY_KNOWN
