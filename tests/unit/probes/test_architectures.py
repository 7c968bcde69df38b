"""The programs are compiled by BCC for the architecture that it takes the host for."""

from __future__ import annotations

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
module = bcc.BPF(src_file=sys.argv[1] + "/process.c", cflags=sys.argv[3:])
print(*(module.dump_func(name).hex() for name in sys.argv[2].split(",")))
"""
PROGRAMS = ("on_exec", "on_fork", "on_exit")
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
    assert len(compiled(*PROGRAMS, architecture=architecture, scope=scope)) == len(PROGRAMS)


@pytest.mark.parametrize("scope", SCOPES)
def test_the_bytecode_is_the_same_on_both(scope: str):
    """Nothing of the architecture is in the programs: they take no registers and no raw structs."""
    dumps = [
        compiled("on_fork", "on_exit", architecture=architecture, scope=scope)
        for architecture in ("arm64", "x86")
    ]
    assert dumps[0] == dumps[1]


def test_no_program_has_a_loop():
    """Linux 5.10 refuses a loop that clang gives an end which the verifier does not see."""
    for program in compiled(*PROGRAMS):
        assert list(graphlib.TopologicalSorter(followers(program)).static_order())


def compiled(*names: str, architecture: str = "x86", scope: str = "the host") -> list[bytes]:
    """Return the bytecode of programs, compiled by raw tracepoints."""
    source = programs.source()
    flags = loader.definitions({"source": str(source), "sizes": SIZES}, list(loader.TRACEPOINTS))
    run = subprocess.run(
        [
            *(loading.interpreter(), "-c", COMPILE, source.parent, ",".join(names)),
            *(*flags, "-DROVER_RAW", *OFFSETS, *SCOPES[scope]),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ARCH": architecture},  # what BCC looks at before uname(2)
    )
    assert run.returncode == 0, run.stderr
    return [bytes.fromhex(line) for line in run.stdout.split()]


def followers(program: bytes) -> dict[int, set[int]]:
    """Return which instructions may follow each."""
    found = {}
    for at, (opcode, _, offset, _) in enumerate(struct.iter_unpack("<BBhi", program)):
        found[at] = set() if opcode in (EXIT, GOTO) else {at + 1}
        if opcode & 0x07 in JUMPS and opcode not in (CALL, EXIT):
            found[at].add(at + 1 + offset)
    return found
