"""A manual page for each command, that man can show without a word of warning."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rover import __version__

SCRIPT = Path(__file__).parents[2] / "deploy" / "man_pages.py"
COMMANDS = ("start", "backend", "ps", "id", "config", "config-check", "log-level", "version")

groff = pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("man")
    subprocess.run([sys.executable, SCRIPT, folder], check=True)
    return folder


def test_each_command_has_one(pages: Path):
    found = {page.name for page in pages.iterdir()}
    assert {"rover.1", *(f"rover-{name}.1" for name in COMMANDS)} <= found


@groff
def test_man_has_nothing_to_say_against_them(pages: Path):
    for page in pages.iterdir():
        said = subprocess.run(
            ["groff", "-man", "-ww", "-Tutf8", page], capture_output=True, text=True, check=True
        )
        assert said.stderr == "", page.name


@groff
def test_options_can_be_copied_from_them(pages: Path):
    shown = subprocess.run(
        ["groff", "-man", "-Tutf8", "-P-cbou", pages / "rover-start.1"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for option in ("--backend-addr HOST:PORT", "-c, --config PATH", "-h, --help"):
        assert option in shown
    assert f"rover {__version__}" in shown


def test_they_lead_to_each_other(pages: Path):
    assert r".BR rover\-config\-check (1)" in (pages / "rover-config.1").read_text()
    assert ".BR rover (1)" in (pages / "rover-start.1").read_text()


def test_they_are_the_same_each_time(pages: Path, tmp_path: Path):
    subprocess.run([sys.executable, SCRIPT, tmp_path], check=True)
    for page in tmp_path.iterdir():
        assert page.read_text() == (pages / page.name).read_text()
