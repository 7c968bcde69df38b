"""What strangers install: the wheel holds the C program, and nothing of it needs the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from rover import __version__

ROOT = Path(__file__).parents[2]
PIPX = shutil.which("pipx", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")


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


@pytest.mark.skipif(not PIPX, reason="pipx is not installed")
def test_pipx_installs_it_with_its_command(wheel: Path, tmp_path: Path):
    environment = {
        **os.environ,
        "PIPX_HOME": str(tmp_path / "home"),
        "PIPX_BIN_DIR": str(tmp_path / "bin"),
        "PIPX_MAN_DIR": str(tmp_path / "man"),
    }
    subprocess.run(
        [str(PIPX), "install", "--quiet", "--python", sys.executable, str(wheel)],
        env=environment, check=True, timeout=300, capture_output=True,
    )  # fmt: skip
    said = subprocess.run(
        [tmp_path / "bin" / "rover", "version"], capture_output=True, text=True, check=True
    )
    assert said.stdout == f"rover {__version__}\n"


def test_the_wheel_installed_alone_tells_its_version_and_finds_its_programs(
    wheel: Path, tmp_path: Path
):
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env/bin/python"
    subprocess.run([python, "-m", "pip", "install", "-q", str(wheel)], check=True, timeout=300)
    said = subprocess.run(
        [tmp_path / "env/bin/rover", "version"], capture_output=True, text=True, check=True,
        cwd=tmp_path,
    )  # fmt: skip
    assert said.stdout == f"rover {__version__}\n"
    found = subprocess.run(
        [python, "-c", "from rover.probes.programs import source; print(source())"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert found.stdout.strip().endswith("rover/_bpf/process.c")
