"""What is shipped gives the rights that profiles take; without one of them it says what is lost."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent_rig import ROVER

from bench.cluster.objects import NODE
from bench.rig.container import Container

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(180)]

OTHER_USER, AGENTS_USER = 54_321, 54_322
SOURCE = r"""
#include <fcntl.h>
#include <unistd.h>
static volatile long sink;
static char buffer[65536];
__attribute__((noinline)) void heavy(void) { for (long i = 0; i < 3000000; i++) sink += i; }
__attribute__((noinline)) void reads(int from) {
    for (int i = 0; i < 100; i++) sink += read(from, buffer, sizeof buffer);
}
int main(void) { int from = open("/dev/zero", O_RDONLY); for (;;) { heavy(); reads(from); } }
"""

Start = Callable[..., subprocess.Popen[bytes]]


def of_unit() -> set[str]:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign,assignment]
    parser.read(Path(__file__).parents[2] / "deploy" / "rover.service")
    names = parser["Service"]["AmbientCapabilities"].lower().split()
    return {name.removeprefix("cap_") for name in names}


def of_manifest() -> set[str]:
    return {name.lower() for name in Container.of_manifest(NODE).capabilities}


def as_the_unit(names: set[str]) -> list[str]:
    given = ",".join(f"+{name}" for name in sorted(names))
    ids = (f"--reuid={AGENTS_USER}", f"--regid={AGENTS_USER}", "--clear-groups", "--no-new-privs")
    sets = (f"--inh-caps={given}", f"--ambient-caps={given}", f"--bounding-set=-all,{given}")
    return ["setpriv", *ids, *sets]


def as_the_pod(names: set[str]) -> list[str]:
    given = ",".join(f"+{name}" for name in sorted(names))
    return ["setpriv", f"--bounding-set=-all,{given}", "--inh-caps=-all", "--no-new-privs"]


@pytest.fixture
def burner(tmp_path: Path) -> Iterator[int]:
    """A process of another user whose executable only its user may read, and is deleted."""
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler: apt-get install gcc")
    (tmp_path / "burner.c").write_text(SOURCE)
    program = tmp_path / "burner"
    subprocess.run(
        [compiler, "-O2", "-fomit-frame-pointer", "-o", program, tmp_path / "burner.c"], check=True
    )
    program.chmod(0o711)
    user = ("setpriv", f"--reuid={OTHER_USER}", f"--regid={OTHER_USER}", "--clear-groups")
    with subprocess.Popen(["sh", "-c", f"exec {' '.join(user)} ./burner"], cwd=tmp_path) as process:
        exe = Path(f"/proc/{process.pid}/exe")
        while exe.readlink().name != "burner":
            assert process.poll() is None
        program.unlink()
        yield process.pid
        process.kill()


def profile(wrap: list[str], pid: int) -> tuple[str, str]:
    """Return collapsed stacks, and what was said beside."""
    command = [*wrap, "env", "PYTHONDONTWRITEBYTECODE=1", ROVER, "profile", str(pid)]
    done = subprocess.run(
        [*command, "--seconds", "2", "-o", "folded", "--file", "-"],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.mark.parametrize(
    "wrap", [as_the_unit(of_unit()), as_the_pod(of_manifest())], ids=["unit", "manifest"]
)
def test_what_is_shipped_is_enough_for_whole_stacks_with_all_names(wrap: list[str], burner: int):
    stacks, said = profile(wrap, burner)
    assert "main;heavy " in stacks
    assert "main;reads;" in stacks
    assert "ksys_read" in stacks
    assert "100.0 % of stacks whole" in said
    assert "lack" not in said


@pytest.mark.parametrize(
    ("right", "lost"),
    [
        ("checkpoint_restore", "a file with code was deleted or replaced"),
        ("dac_read_search", "files with code that not every user may read"),
    ],
)
def test_without_a_right_to_its_file_code_has_no_names_and_that_is_said(
    right: str, lost: str, burner: int
):
    stacks, said = profile(as_the_unit(of_unit() - {right}), burner)
    assert "heavy" not in stacks
    assert lost in said
    assert f"securityContext.capabilities.add: [{right.upper()}]" in said
    assert said.count("profiles lack") == 1


def test_without_the_right_to_the_kernels_addresses_its_functions_have_no_names(burner: int):
    stacks, said = profile(as_the_unit(of_unit() - {"syslog"}), burner)
    assert "main;heavy " in stacks
    assert "[kernel]" in stacks
    assert "ksys_read" not in stacks
    assert "securityContext.capabilities.add: [SYSLOG]" in said


@pytest.mark.parametrize("right", ["bpf", "perfmon"])
def test_without_a_right_to_trace_the_reason_is_told(right: str, burner: int):
    command = [*as_the_unit(of_unit() - {right}), ROVER, "profile", str(burner)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert f"missing CAP_{right.upper()}" in done.stderr
    assert "Traceback" not in done.stderr
