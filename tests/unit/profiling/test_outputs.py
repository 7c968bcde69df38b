"""What a profile is written as: collapsed stacks, a flame graph, pprof."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.profiling.flamegraph import svg
from rover.profiling.folded import folded
from rover.profiling.pprof import pprof
from rover.profiling.records import StackCount, Target

STACKS = [
    StackCount(1, Target.ON_CPU, (), ("leaf", "branch", "main"), 30, 0),
    StackCount(1, Target.ON_CPU, ("vfs_read",), ("read", "main"), 10, 0),
    StackCount(1, Target.ON_CPU, (), ("leaf", "branch", "main"), 2, 0),
]
WAITS = [StackCount(1, Target.OFF_CPU, ("schedule",), ("nap", "main"), 4, 2_500_000)]


def test_collapsed_stacks_begin_at_the_root_and_add_up():
    assert folded(STACKS) == "main;branch;leaf 32\nmain;read;vfs_read_[k] 10\n"


def test_waits_weigh_their_microseconds():
    assert folded(WAITS) == "main;nap;schedule_[k] 2500\n"


def test_a_semicolon_in_a_name_parts_no_frames():
    odd = [StackCount(1, Target.ON_CPU, (), ("f(;)", "main"), 1, 0)]
    assert folded(odd) == "main;f(:) 1\n"


def widths(drawn: str) -> dict[str, float]:
    root = ET.fromstring(drawn)  # noqa: S314  our own page
    space = "{http://www.w3.org/2000/svg}"
    return {
        str(group.findtext(f"{space}title")).rpartition(": ")[0]: float(
            group.find(f"{space}rect").get("width")  # type: ignore[union-attr]
        )
        for group in root.iter(f"{space}g")
    }


def test_frames_are_as_wide_as_they_weigh():
    found = widths(svg(STACKS, "test", Target.ON_CPU))
    assert found["main"] == found["all"] == 1_180
    assert found["leaf"] == pytest.approx(1_180 * 32 / 42, abs=0.01)
    assert found["vfs_read (kernel)"] == pytest.approx(1_180 * 10 / 42, abs=0.01)


@given(
    st.lists(
        st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"])), max_size=5), max_size=5
    )
)
def test_whatever_names_say_the_page_is_well_formed_and_has_no_script(names: list[list[str]]):
    stacks = [StackCount(1, Target.ON_CPU, (), tuple(each), 1, 0) for each in names]
    drawn = svg(stacks, "<script>alert(1)</script> & co", Target.ON_CPU)
    root = ET.fromstring(drawn)  # noqa: S314  our own page
    assert {element.tag.rpartition("}")[2] for element in root.iter()} <= {
        "svg", "title", "style", "rect", "text", "g",
    }  # fmt: skip


def test_nothing_sampled_is_a_page_as_well():
    ET.fromstring(svg([], "nothing", Target.OFF_CPU))  # noqa: S314  our own page


@pytest.mark.skipif(not shutil.which("go"), reason="needs go")
def test_pprof_reads_what_is_written(tmp_path: Path):
    path = tmp_path / "p.pb.gz"
    path.write_bytes(
        pprof(STACKS, Target.ON_CPU, period_ns=10_000_000, began_ns=1, lasted_ns=10**9)
    )
    said = subprocess.run(
        ["go", "tool", "pprof", "-raw", str(path)], capture_output=True, text=True, check=True
    ).stdout
    assert "samples/count cpu/nanoseconds" in said
    assert "30  300000000:" in said
    assert "leaf" in said


def test_a_profile_is_compressed_and_holds_its_names():
    text = gzip.decompress(pprof(WAITS, Target.OFF_CPU, period_ns=1, began_ns=0, lasted_ns=1))
    assert b"\x08schedule" in text
    assert b"\x07off_cpu" in text
