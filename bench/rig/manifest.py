"""The objects of deploy/daemonset.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

CHECKOUT = Path(__file__).parents[2]
DAEMONSET = CHECKOUT / "deploy" / "daemonset.yaml"
UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def objects() -> list[dict[str, Any]]:
    """Return all of them."""
    return list(yaml.safe_load_all(DAEMONSET.read_text()))


def manifest(kind: str) -> dict[str, Any]:
    """Return the only object of a kind."""
    (found,) = [item for item in objects() if item["kind"] == kind]
    return found


def quantity(text: str) -> int:
    """Read a quantity of memory."""
    return int(text[:-2]) * UNITS[text[-2:]]
