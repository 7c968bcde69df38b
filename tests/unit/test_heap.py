"""Memory is given back after a flood, and only then."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rover import file_pages, heap


@pytest.fixture
def given_back(monkeypatch):
    times = []
    monkeypatch.setattr(heap, "give_back", lambda: times.append(1))
    return times


@pytest.mark.parametrize(
    ("processes", "times"),
    [
        ([100, 16_000, 16_100, 120], 1),
        ([100, 16_000, 120, 130, 120], 1),
        ([100, 16_000, 120, 16_000, 120], 2),
        ([900, 0], 0),
        ([2_000, 1_500, 1_100], 0),
        ([2_000, 1_500, 1_000], 1),
        ([16_000, 9_000, 16_000], 0),
        ([100] * 9, 0),
        ([100] * 20, 2),
    ],
)
def test_memory_is_given_back_when_most_of_many_processes_have_gone(processes, times, given_back):
    tide = heap.PeakRelease()
    for amount in processes:
        tide.note(amount)
    assert len(given_back) == times


def test_giving_back_works_on_this_system():
    heap.give_back()


CODE = """
import grpc
from pathlib import Path
from rover import file_pages, heap

def of_files():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssFile"))

before = of_files()
heap.settle()
print(before - of_files())
with grpc.insecure_channel("127.0.0.1:1") as channel:
    try:
        channel.unary_unary("/a/b")(b"", timeout=5)
    except grpc.RpcError as error:
        print(error.code().name)
"""


def test_code_that_only_the_start_has_run_is_let_go_of_and_comes_again_when_it_runs():
    done = subprocess.run([sys.executable, "-c", CODE], check=True, capture_output=True, text=True)
    less, answer = done.stdout.split()
    assert int(less) > 1_024, "KiB"
    assert answer == "UNAVAILABLE"


SMAPS = """\
1000-2000 r-xp 00000000 08:01 11 /usr/lib/libc.so
Rss:                   4 kB
Anonymous:             0 kB
2000-3000 r--p 00001000 08:01 11 /usr/lib/libc.so (deleted)
Anonymous:             0 kB
3000-4000 r--p 00002000 08:01 11 /usr/lib/libc.so
Anonymous:             4 kB
4000-5000 rw-p 00003000 08:01 11 /usr/lib/libc.so
Anonymous:             0 kB
5000-6000 r--p 00000000 00:00 0
Anonymous:             0 kB
6000-7000 r--s 00000000 00:0e 9 anon_inode:bpf-map
Anonymous:             0 kB
"""


def test_nothing_is_let_go_of_that_was_or_can_be_written_or_is_no_files():
    assert list(file_pages.unwritten(SMAPS.splitlines())) == [(0x1000, 0x2000), (0x2000, 0x3000)]
