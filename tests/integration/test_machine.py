"""One machine of the matrix, a stock Debian 12, where QEMU, KVM and its image are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from machines import guest, image

MACHINE = next(each for each in image.MACHINES if each.name == "debian12")
ROWS = ("attach_by_the_shipped_unit", "attach_by_the_manifest's_rights", "each_right_taken_away")


@pytest.fixture(scope="module")
def stock_debian() -> image.Image:
    if missing := image.missing_tools():
        pytest.skip(f"no {', '.join(missing)} here")
    if os.geteuid() != 0:
        pytest.skip("not root")
    found = image.cached(MACHINE)
    if found is None:
        pytest.skip("no image of Debian 12 here: python -m machines --only debian12 makes it")
    if not guest.kvm_works(found):
        pytest.skip("KVM boots no stock kernel here; make machines runs it by emulation")
    return found


@pytest.mark.timeout(180)
def test_the_shipped_unit_attaches_on_a_stock_debian(stock_debian: image.Image, tmp_path: Path):
    outcome = guest.run(
        MACHINE, stock_debian, ROWS, accelerator="kvm", timeout=150, folder=tmp_path
    )
    assert len(outcome.rows) == len(ROWS), outcome.console.read_text(errors="replace")[-2000:]
    assert {row: said for row, said in outcome.rows.items() if not said.startswith("ok")} == {}
