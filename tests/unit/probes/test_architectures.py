"""The programs are compiled by BCC for the architecture that it takes the host for."""

from __future__ import annotations

import ast
import graphlib
import os
import struct
import subprocess

import pytest

from rover.probes import loader, loading, programs

pytestmark = pytest.mark.kernel

COMPILE = """
import os, sys
os.environ["BCC_KERNEL_SOURCE"] = sys.argv[1] + "/shim"
import bcc
module = bcc.BPF(src_file=sys.argv[1] + "/process.c", cflags=sys.argv[2:])
print(*(len(module.dump_func(name)) > 0 for name in ("on_exec", "on_fork", "on_exit")))
"""
OFFSETS = [f"-D{name}=64" for name in loader.OFFSETS]
NAMESPACE = [f"-D{name}=64" for name in ("ROVER_PID_NAMESPACE", *loader.NAMESPACE_OFFSETS)]
SCOPES = {"the host": [], "a pid namespace": NAMESPACE}
JUMPS = {0x05, 0x06}
"""Classes of instructions: BPF_JMP, BPF_JMP32."""
GOTO, CALL, EXIT = 0x05, 0x85, 0x95
SIZES = {
    "ROVER_PENDING_ENTRIES": 16,
    "ROVER_OVERFLOW_ENTRIES": 16,
    "ROVER_TRACKED_ENTRIES": 16,
    "ROVER_RING_PAGES": 1,
}


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("architecture", ["arm64", "x86"])
def test_the_programs_compile_for(architecture: str, scope: str):
    source = programs.source()
    flags = loader.definitions({"source": str(source), "sizes": SIZES}, list(loader.TRACEPOINTS))
    run = subprocess.run(
        [
            *(loading.interpreter(), "-c", COMPILE, source.parent),
            *(*flags, "-DROVER_RAW", *OFFSETS, *SCOPES[scope]),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ARCH": architecture},  # what BCC looks at before uname(2)
    )
    assert run.stdout == "True True True\n", run.stderr


@pytest.mark.parametrize("scope", SCOPES)
def test_the_bytecode_is_the_same_on_both(scope: str):
    """Nothing of the architecture is in the programs: they take no registers and no raw structs."""
    source = programs.source()
    flags = loader.definitions({"source": str(source), "sizes": SIZES}, list(loader.TRACEPOINTS))
    code = COMPILE.replace(
        'print(*(len(module.dump_func(name)) > 0 for name in ("on_exec", "on_fork", "on_exit")))',
        "sys.stdout.write(repr([module.dump_func(n) for n in ('on_fork', 'on_exit')]))",
    )
    dumps = [
        subprocess.run(
            [
                *(loading.interpreter(), "-c", code, source.parent),
                *(*flags, "-DROVER_RAW", *OFFSETS, *SCOPES[scope]),
            ],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "ARCH": architecture},
        ).stdout
        for architecture in ("arm64", "x86")
    ]
    assert dumps[0] == dumps[1]


def test_no_program_has_a_loop():
    """Linux 5.10 refuses a loop that clang gives an end which the verifier does not see."""
    source = programs.source()
    flags = loader.definitions({"source": str(source), "sizes": SIZES}, list(loader.TRACEPOINTS))
    code = COMPILE.replace(
        'print(*(len(module.dump_func(name)) > 0 for name in ("on_exec", "on_fork", "on_exit")))',
        "sys.stdout.write(repr([module.dump_func(n) for n in ('on_exec', 'on_fork', 'on_exit')]))",
    )
    run = subprocess.run(
        [
            *(loading.interpreter(), "-c", code, source.parent),
            *(*flags, "-DROVER_RAW", *OFFSETS),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    for program in ast.literal_eval(run.stdout):
        assert list(graphlib.TopologicalSorter(followers(program)).static_order())


def followers(program: bytes) -> dict[int, set[int]]:
    """Return which instructions may follow each."""
    found = {}
    for at, (opcode, _, offset, _) in enumerate(struct.iter_unpack("<BBhi", program)):
        found[at] = set() if opcode in (EXIT, GOTO) else {at + 1}
        if opcode & 0x07 in JUMPS and opcode not in (CALL, EXIT):
            found[at].add(at + 1 + offset)
    return found
