"""Parts of the sampler that need no kernel: totals, places in maps, lists of CPUs, the layout."""

from __future__ import annotations

import itertools
import os
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.probes import loading, programs
from rover.profiling import layout
from rover.profiling.code_space import Room
from rover.profiling.frames import called, without_tracing
from rover.profiling.perf_events import cpus_of
from rover.profiling.records import StackCount, Target
from rover.profiling.totals import TOO_MANY, Totals

COMPILE = """
import os, sys
os.environ["BCC_KERNEL_SOURCE"] = sys.argv[1] + "/shim"
import bcc
bcc.BPF(text=sys.stdin.read(), cflags=["-I" + sys.argv[1]])
"""
PROGRAMS = """
import os, sys
os.environ["BCC_KERNEL_SOURCE"] = sys.argv[1] + "/shim"
import bcc
module = bcc.BPF(src_file=sys.argv[1] + "/profile.c", cflags=sys.argv[2:])
print(*(len(module.dump_func(name)) > 0 for name in ("on_cpu", "off_cpu")))
"""


def test_the_mirrors_say_what_the_header_says():
    result = subprocess.run(
        [loading.interpreter(), "-c", COMPILE, str(programs.source("profile.c").parent)],
        input=layout.static_assertions(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.kernel
@pytest.mark.parametrize("architecture", ["arm64", "x86"])
def test_the_programs_by_frame_pointers_compile_for(architecture: str):
    folder = programs.source("profile.c").parent
    flags = [f"-D{name}=64" for name in layout.sizes()]
    flags += [f"-DROVER_TASK_{name}=64" for name in ("PID", "FLAGS", "MM")]
    run = subprocess.run(
        [loading.interpreter(), "-c", PROGRAMS, str(folder), f"-I{folder}", *flags],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ARCH": architecture},  # what BCC looks at before uname(2)
    )
    assert run.stdout == "True True\n", run.stderr


def test_equal_stacks_are_one_total_that_grows():
    totals = Totals()
    for _ in range(2):
        totals.of(1, Target.ON_CPU, (), ("f", "main")).count += 3
    assert totals.counts() == [StackCount(1, Target.ON_CPU, (), ("f", "main"), 6, 0)]


def test_stacks_beyond_the_bound_are_counted_under_one_name():
    totals = Totals(most=2)
    for name in "abcd":
        totals.of(1, Target.ON_CPU, (), (name,)).count += 1
    found = {stack.user: stack.count for stack in totals.counts()}
    assert found == {("a",): 1, ("b",): 1, (TOO_MANY,): 2}


def test_a_process_that_is_forgotten_leaves_the_others():
    totals = Totals()
    totals.of(1, Target.ON_CPU, (), ("f",)).count += 1
    totals.of(2, Target.ON_CPU, (), ("f",)).count += 1
    totals.forget(1, Target.ON_CPU)
    assert [stack.pid for stack in totals.counts()] == [2]


def test_callers_are_looked_up_inside_of_their_calls_whatever_was_taken_for_an_address():
    assert called((5, 6, 0, 2**64 - 1)) == [5, 5, 0, 2**64 - 2]


def test_what_the_sampling_puts_above_the_scheduler_is_left_out():
    assert without_tracing(("bpf_prog_1", "bpf_trace_run4", "__schedule", "schedule")) == (
        "__schedule",
        "schedule",
    )
    assert without_tracing(("vfs_read",)) == ("vfs_read",)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 40)), max_size=60))
def test_pieces_of_room_never_overlap_and_all_come_back(steps: list[tuple[bool, int]]):
    room, held = Room(100), []
    for give, amount in steps:
        if give and held:
            room.give(*held.pop(amount % len(held)))
        elif (first := room.take(amount)) is not None:
            held.append((first, amount))
        places = sorted(held)
        for (first, size), (after, _) in itertools.pairwise(places):
            assert first + size <= after
        assert all(first + size <= 100 for first, size in held)
    for piece in held:
        room.give(*piece)
    assert room.take(100) == 0


@pytest.mark.parametrize(
    ("text", "cpus"), [("0\n", {0}), ("0-3,6\n", {0, 1, 2, 3, 6}), ("\n", set())]
)
def test_lists_of_cpus_are_those_of_the_kernel(text: str, cpus: set[int]):
    assert cpus_of(text) == cpus
