"""The section of docs/machines.md that a run of the real node writes, and what it runs."""

from __future__ import annotations

import re

import pytest

from machines.node import images, table
from machines.node.table import BEGIN, END, Finding, replace_section, section_of
from machines.node.workloads import WORKLOADS

ROW = Finding("deployment", "ok", "web, web", 1.5, 0.0625)
CLAIM = Finding("the agent killed", "a|b\nc", None, None, None)


@pytest.fixture(autouse=True)
def no_programs(monkeypatch):
    monkeypatch.setattr(table, "_version", lambda program: f"{program} 1.2.3")


def test_a_run_adds_its_section_and_the_next_replaces_it():
    once = replace_section("# Machines\n", [ROW], 60)
    assert once.startswith("# Machines\n\n" + BEGIN)
    assert "| deployment | web, web | ok | 1500 ms | 62 ms |" in once
    again = replace_section(once + "\nmore\n", [CLAIM], 60)
    assert "deployment" not in again
    assert again.count(BEGIN) == again.count(END) == 1
    assert again.endswith("\nmore\n")


def test_a_section_is_kept_when_the_rest_is_made_anew():
    document = replace_section("# Machines\n", [ROW], 60)
    assert replace_section(section_of(document), [ROW], 60).strip() == section_of(document).strip()
    assert section_of("# Machines\n") == ""


def test_a_result_of_several_lines_stays_in_its_cell():
    assert "| the agent killed | a/b c |" in replace_section("", [CLAIM], 60)


def test_each_workload_has_a_namespace_of_its_own():
    namespaces = [each.namespace for each in WORKLOADS]
    assert len(set(namespaces)) == len(namespaces)
    assert all(re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", name) for name in namespaces)


def test_what_is_expected_is_in_the_workloads_image():
    known = {*images.NAMES, *images.APPLETS}
    assert {each.process for workload in WORKLOADS for each in workload.expected} <= known
