"""What strangers install: the wheel holds the C program, and nothing of it needs the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from rover import __version__

ROOT = Path(__file__).parents[2]
PIPX = shutil.which("pipx", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")

pipx = pytest.mark.skipif(not PIPX, reason="pipx is not installed")
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT)],
        check=True,
        cwd=folder,
    )
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_programs_and_their_headers(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "rover/_bpf/process.c",
        "rover/_bpf/process.h",
        "rover/_bpf/profile.c",
        "rover/_bpf/profile.h",
        "rover/_bpf/arguments.h",
        "rover/_bpf/pid_namespace.h",
        "rover/_bpf/read.h",
        "rover/_bpf/shim/include/linux/types.h",
        "rover/_proto/ebpf/profiling/Process_pb2.py",
        "rover/probes/loader.py",
        "rover/py.typed",
    } <= names
    assert not [name for name in names if name.startswith(("tests/", "bench/"))]


def test_the_wheel_names_bcc_of_pypi_nowhere(wheel: Path):
    archive = zipfile.ZipFile(wheel)
    (metadata,) = [name for name in archive.namelist() if name.endswith("METADATA")]
    required = [
        line for line in archive.read(metadata).decode().splitlines() if "Requires-Dist" in line
    ]
    assert not [line for line in required if "bcc" in line.lower()]
    assert any("grpcio" in line for line in required)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install it with all that it needs, by pipx; return the folder of commands."""
    folder = tmp_path_factory.mktemp("pipx")
    environment = {
        **os.environ,
        "PIPX_HOME": str(folder / "home"),
        "PIPX_BIN_DIR": str(folder / "bin"),
        "PIPX_MAN_DIR": str(folder / "man"),
        # Kubernetes' client has a module for each kind of object, and hardly any is ever loaded
        "PIP_NO_COMPILE": "1",
    }
    subprocess.run(
        [str(PIPX), "install", "--quiet", "--python", sys.executable, str(wheel)],
        env=environment, check=True, timeout=280, capture_output=True,
    )  # fmt: skip
    return folder / "bin"


@pipx
def test_pipx_installs_it_with_its_command(installed: Path):
    said = subprocess.run([installed / "rover", "version"], capture_output=True, check=True)
    assert said.stdout.decode() == f"rover {__version__}\n"


@pipx
def test_installed_alone_it_finds_its_programs(installed: Path, tmp_path: Path):
    python = (installed / "rover").resolve().with_name("python")
    found = subprocess.run(
        [python, "-c", "from rover.probes.programs import source; print(source())"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    path = found.stdout.strip()
    assert path.endswith("rover/_bpf/process.c")
    assert path.startswith(str(installed.parent))
