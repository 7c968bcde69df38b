"""docs/operating.md and docs/install.md speak of what there is, by figures that were measured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from rover.cli import COMMANDS
from rover.config.keys import all_keys
from rover.config.settings import DiscoverySettings

ROOT = Path(__file__).parents[2]
OPERATING = (ROOT / "docs" / "operating.md").read_text()
INSTALL = (ROOT / "docs" / "install.md").read_text()
PERFORMANCE = (ROOT / "docs" / "performance.md").read_text()
ENTITIES = 100


def test_every_alert_that_is_named_is_one():
    rules = yaml.safe_load((ROOT / "deploy/prometheus/rules.yaml").read_text())["groups"][0][
        "rules"
    ]
    assert set(re.findall(r"`(Rover[A-Z]\w+)`", OPERATING)) <= {rule["alert"] for rule in rules}


def test_every_key_that_is_named_is_one():
    known = {setting.path for setting in all_keys()}
    named = set(re.findall(r"`((?:core|process_discovery|status|logger)\.[\w.]+)", OPERATING))
    assert named <= known


def test_every_command_that_is_named_is_one():
    for text in (OPERATING, INSTALL):
        assert set(re.findall(r"`rover ([a-z-]+)", text)) <= COMMANDS.keys()


@pytest.mark.parametrize("text", [OPERATING, INSTALL])
def test_every_link_and_every_file_of_the_checkout_is_there(text: str):
    for target in re.findall(r"\]\(([\w./]+)\)", text):
        assert (ROOT / "docs" / target).exists(), target
    for path in re.findall(r"(?<![\w/])(deploy/[\w./-]*\w)", text):
        assert (ROOT / path).exists(), path


def test_the_load_of_a_fleet_follows_from_the_figures_of_one_agent():
    beat, full = (
        int(each)
        for each in re.search(r"bytes an entity: beat, full report \| (\d+), (\d+)", PERFORMANCE)
        .groups()
    )  # fmt: skip
    settings = DiscoverySettings()
    period, every = settings.heartbeat_period, settings.properties_report_period
    calls = (1 + 1 / every) / period
    rate = ENTITIES * (beat + full / every) / period
    at_once = ENTITIES * (beat + full)
    assert f"| {1_000 * calls:.0f} a second |" in OPERATING
    assert f"| {1_000 * rate / 1_000:.0f} KB a second |" in OPERATING
    assert f"| {1_000 * at_once / 1e6:.0f} MB |" in OPERATING
    assert f"{beat} bytes an entity, a full report {full}" in OPERATING
