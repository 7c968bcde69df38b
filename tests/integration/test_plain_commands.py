"""Commands that need no agent, or a word from it, on every kind of terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from agent_rig import ROVER
from captured import WAYS, agrees, shown
from status_rig import serving

GOOD = """\
core:
  cluster_name: east
  backend:
    addr: oap.example.org:11800
    authentication: hunter2
process_discovery:
  ignore: ['^/usr/bin/containerd-shim', 'node_exporter']
"""
BAD = """\
core:
  backend:
    adr: oap.example.org:11800
process_discovery:
  heartbeat_period: [20s]
"""


def with_file(text: str, *arguments: str) -> Callable[[Path], tuple[object, ...]]:
    def made(folder: Path) -> tuple[object, ...]:
        file = folder / "rover.yaml"
        file.write_text(text)
        return (*arguments, file)

    return made


COMMANDS = {
    "help": lambda _: ("--help",),
    "config-check-good": with_file(GOOD, "config", "check"),
    "config-check-bad": with_file(BAD, "config", "check"),
    "config-show": with_file(GOOD, "config", "show", "--config"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("command", COMMANDS)
def test_it_is_shown_on_every_terminal(
    command: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    arguments = [
        each.relative_to(tmp_path) if isinstance(each, Path) else each
        for each in COMMANDS[command](tmp_path)
    ]
    text = shown(ROVER, *arguments, way=way)
    agrees(f"{command}-{way}", text)
    assert "hunter2" not in text


@pytest.mark.parametrize("way", WAYS)
def test_the_level_of_the_log_is_shown_on_every_terminal(way: str, tmp_path: Path):
    tmp_path.chmod(0o700)
    with serving(tmp_path, ""):
        text = shown(ROVER, "log-level", "--state-dir", tmp_path, way=way)
    agrees(f"log-level-{way}", text)
