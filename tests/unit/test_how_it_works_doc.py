"""The document that leads a reader through the code names what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STEPS = re.findall(
    r"^\| [^|]+ \| (`[^|]+`) \|$", (ROOT / "docs/how-it-works.md").read_text(), re.MULTILINE
)


def test_one_process_is_followed_in_a_list():
    assert len(STEPS) > 10


@pytest.mark.parametrize("step", STEPS)
def test_each_step_names_a_function_that_is_there(step):
    folder = source = None
    for name in re.findall(r"`([^`]+)`", step):
        if "/" in name or name.endswith(".py"):
            path = ROOT / name if "/" in name else folder / name
            folder, source = path.parent, path.read_text()
            continue
        owner, _, function = name.rpartition(".")
        assert re.search(rf"\b(def|int) {function}\(", source)
        assert not owner or f"class {owner}" in source
