"""The table of docs/machines.md that runs of the matrix write, and what is kept between them."""

from __future__ import annotations

from dataclasses import replace

from machines import results
from machines.results import Cell, add, programs, read, table

CELL = Cell("debian12", "attach as root", "ok", "6.1.0", "tcg", "2026-11-27", programs())
OTHER = replace(CELL, machine="debian13", row="vfork", result="a|b\nc", kernel="6.12")


def test_a_run_replaces_its_own_rows_and_keeps_the_others(tmp_path):
    place = tmp_path / results.NAME
    assert read(place) == []
    add(place, [CELL, OTHER])
    again = replace(CELL, result="ok, again", date="2026-11-28")
    add(place, [again])
    assert read(place) == [again, OTHER]


def test_the_table_has_rows_in_their_order_and_a_cell_for_each_machine():
    lines = table([CELL, OTHER], ["vfork", "attach as root", "churn"]).splitlines()
    assert "| row | debian12 | debian13 |" in lines
    assert lines.index("| vfork |  | a/b c |") < lines.index("| attach as root | ok |  |")
    assert not any("churn" in line for line in lines)
    assert "| debian13 | Debian's trixie | 6.12 |" in lines


def test_a_row_that_runs_outside_of_the_order_comes_first():
    text = table([CELL, replace(CELL, row="an old Python is refused")], ["attach as root"])
    assert text.index("an old Python") < text.index("| attach as root")


def test_a_machine_that_did_not_come_up_is_said_to_have():
    assert "did not come up" in table([replace(CELL, kernel="")], [])


def test_what_was_found_by_emulation_holds_no_times():
    assert results.EMULATED in table([CELL], [])
    assert results.EMULATED not in table([replace(CELL, accelerator="kvm")], [])


def test_what_was_found_with_other_programs_is_marked():
    assert "| attach as root | ok |" in table([CELL], [])
    assert results.OF_EARLIER not in table([CELL], [])
    text = table([replace(CELL, programs="others")], [])
    assert "| attach as root | ok † |" in text
    assert results.OF_EARLIER in text


def test_the_programs_are_known_by_their_text(tmp_path, monkeypatch):
    (tmp_path / "bpf").mkdir()
    source = tmp_path / "bpf" / "process.c"
    source.write_text("int one;\n")
    monkeypatch.setattr(results, "ROOT", tmp_path)
    before = programs()
    source.write_text("int two;\n")
    assert programs() != before
