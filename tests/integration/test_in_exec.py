"""A process met in the middle of execve(2) is there, whatever /proc shows in that moment."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from profiled import ON, sampled, total

from bench.rig.profiled import built, running
from rover.binaries.reader import Reader, ReadError
from rover.discovery.procfs import ProcReader
from rover.model import Process
from rover.profiling.sampling import KernelSampler
from rover.profiling.usage import start_ticks

WORK = "volatile long sink; static void work(void) { for (long i = 0; i < 200000; i++) sink += i; }"
BY_THE_FIRST = (
    "#include <unistd.h>\n" + WORK + "int main(int n, char **argv) { work(); execv(*argv, argv); }"
)
BY_ANOTHER = (
    "#include <pthread.h>\n#include <unistd.h>\nstatic char **all;"
    + WORK
    + """
static void *other(void *none) { work(); execv(*all, all); return none; }
int main(int n, char **argv) {
  pthread_t thread;
  all = argv; pthread_create(&thread, 0, other, 0); pthread_exit(0); }
"""
)
"""The first thread has ended when the other one takes its place."""


@pytest.fixture(params=[BY_THE_FIRST, BY_ANOTHER], ids=["by the first thread", "by another"])
def execs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    """Give the pid of a process that executes its own program over and over."""
    with running(built(tmp_path, "execs", request.param)) as process:
        yield process.pid
        assert process.poll() is None


def test_it_is_never_taken_for_gone_by_what_reads_its_code(execs: int):
    reader, ticks, looks = Reader(), start_ticks(execs), Counter[str]()
    until = time.monotonic() + 3
    try:
        while time.monotonic() < until:
            try:
                looks["code" if reader.look(execs, ticks)[1] else "none"] += 1
            except ReadError as error:
                looks[repr(error)] += 1
    finally:
        reader.close()
    assert set(looks) == {"code"}


def test_it_is_never_taken_for_gone_by_discovery(execs: int):
    reader, reads = ProcReader(), Counter[str]()
    until = time.monotonic() + 3
    while time.monotonic() < until:
        reads[type(reader.read(execs)).__name__] += 1
    # it hardly does anything else than to execute: three reads in a row may fall into that
    assert reads["Process"] >= 0.99 * reads.total() > 100


IN_TURN = (
    "#include <unistd.h>\n"
    + WORK
    + """
int main(int n, char **argv) {
  work();
  char *next[] = {argv[1], argv[0], 0}; execv(*next, next); }"""
)


def test_what_is_told_of_it_is_of_one_program(tmp_path: Path):
    one, two = built(tmp_path, "one", IN_TURN), built(tmp_path, "two", IN_TURN)
    with running(one, two) as process:
        reader, told = ProcReader(), Counter[bool]()
        until = time.monotonic() + 5
        while time.monotonic() < until:
            read = reader.read(process.pid)
            if isinstance(read, Process) and not read.late:
                told[read.arguments.split(b"\0")[0].decode() == read.exe] += 1
    assert told[True] >= 0.995 * told.total() > 1_000


@pytest.mark.kernel
def test_it_is_sampled_on(execs: int):
    sampler = KernelSampler()
    try:
        assert sampler.follow({execs: ON}) == {}
        sampled(sampler, execs, lambda found: total(found) >= 150)
        assert not sampler.ended(execs)
    finally:
        sampler.close()
