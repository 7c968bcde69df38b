"""The mirrors of the kernel side's structures."""

from __future__ import annotations

import os
import subprocess

import pytest

from rover.probes import layout, loading, programs

COMPILE = """
import os, sys
os.environ["BCC_KERNEL_SOURCE"] = sys.argv[1] + "/shim"
import bcc
bcc.BPF(text=sys.stdin.read(), cflags=["-I" + sys.argv[1]])
"""


def compile_c(source: str, architecture: str = "") -> subprocess.CompletedProcess[str]:
    """Compile as BCC does for a host of that architecture; of this one where none is named."""
    folder = str(programs.source().parent)
    return subprocess.run(
        [loading.interpreter(), "-c", COMPILE, folder],
        input=source,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | ({"ARCH": architecture} if architecture else {}),
    )


@pytest.mark.parametrize("architecture", ["arm64", "x86"])
def test_the_mirrors_say_what_the_header_says_for(architecture: str):
    result = compile_c(layout.static_assertions(), architecture)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("sizeof(struct rover_event) == 16", "sizeof(struct rover_event) == 24"),
        ("ROVER_EVENT_EXIT == 2", "ROVER_EVENT_EXIT == 3"),
        (
            "__builtin_offsetof(struct rover_pending, kind) == 12",
            "__builtin_offsetof(struct rover_pending, kind) == 8",
        ),
    ],
    ids=["size", "number", "offset"],
)
def test_a_mirror_that_differs_does_not_compile(right: str, wrong: str):
    source = layout.static_assertions()
    assert right in source
    result = compile_c(source.replace(right, wrong))
    assert result.returncode != 0
    assert "static assertion failed" in result.stderr.lower().replace(
        "static_assert", "static assertion"
    )
