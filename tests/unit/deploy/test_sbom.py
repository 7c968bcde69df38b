"""What an installation is made of is told in CycloneDX's own terms."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

SCRIPT = Path(__file__).parents[3] / "deploy" / "sbom.py"


def made(*options: str) -> str:
    said = subprocess.run(
        [sys.executable, SCRIPT, "rover", "0.1.0", *options],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return said.stdout


@pytest.mark.parametrize("options", [(), ("--debian",)])
def test_it_is_valid(options: tuple[str, ...]):
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(made(*options)) is None


def test_it_names_what_the_agent_needs_with_its_version():
    told = {each["name"]: each for each in json.loads(made("--debian"))["components"]}
    assert told["grpcio"]["purl"].startswith(f"pkg:pypi/grpcio@{told['grpcio']['version']}")
    assert told["python3-bpfcc"]["purl"].startswith("pkg:deb/debian/python3-bpfcc@")


def test_nothing_is_named_twice_and_the_same_installation_gives_the_same_text():
    text = made()
    references = [each["bom-ref"] for each in json.loads(text)["components"]]
    assert len(set(references)) == len(references)
    assert made() == text
