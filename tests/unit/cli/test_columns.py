"""Tables fit their terminal, and what must not be shortened is not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rover.cli.cells import cell_count
from rover.cli.columns import GAP, fitted, laid_out
from rover.cli.processes import NARROW, WIDE, table
from rover.printable import printable

cells = st.text(st.characters(categories=["L", "M", "N", "P", "So"]), max_size=60).map(printable)
rows = st.lists(
    st.tuples(st.integers(1, 4_194_304).map(str), *[cells] * (len(NARROW) - 1)), max_size=5
)


@given(rows, st.integers(20, 200))
def test_no_line_is_wider_than_its_terminal(some: list, width: int):
    assert all(cell_count(line) <= width for line in laid_out(NARROW, some, width))


@given(rows, st.integers(20, 200))
def test_a_pid_is_never_shortened(some: list, width: int):
    lines = laid_out(NARROW, some, width)[1:]
    assert [line.split()[0] for line in lines] == [row[0] for row in some]


@given(rows)
def test_without_a_width_nothing_is_cut(some: list):
    for line, row in zip(laid_out(NARROW, some, 0)[1:], some, strict=True):
        assert all(cell in line for cell in row)


def test_the_command_gives_way_first_then_the_status_and_the_command_stays():
    natural = [7, 14, 14, 60, 80]
    assert fitted(NARROW, natural, 183) == natural
    assert fitted(NARROW, natural, 130) == [7, 14, 14, 60, 27]
    assert fitted(NARROW, natural, 80) == [7, 14, 14, 21, 16]
    assert fitted(NARROW, natural, 60) == [7, 13, 12, 8, 12]


def test_only_where_all_are_at_their_least_the_command_goes():
    natural = [7, 14, 14, 60, 80]
    least = 7 + 10 + 8 + 8 + 12 + 4 * GAP
    assert fitted(NARROW, natural, least)[-1] == 12
    assert fitted(NARROW, natural, least - 1)[-1] == 0


def test_on_a_narrow_terminal_what_tells_least_goes_next():
    natural = [7, 14, 14, 60, 80]
    assert fitted(NARROW, natural, 40) == [7, 10, 8, 8, 0]
    assert fitted(NARROW, natural, 30) == [7, 10, 0, 8, 0]
    assert fitted(NARROW, natural, 20) == [7, 10, 0, 0, 0]
    assert fitted(NARROW, natural, 12) == [7, 3, 0, 0, 0]


def test_a_wide_terminal_has_all_columns():
    one = {
        "pid": 1, "name": "a", "command_line": "", "reason": "kernel thread", "detail": "",
        "entities": [], "shortened": False,
    }  # fmt: skip
    assert table([one], 140, wide=False)[0].split() == [each.title for each in WIDE]
    assert table([one], 80, wide=False)[0].split() == [each.title for each in NARROW]
    assert table([one], 80, wide=True)[0].split() == [each.title for each in WIDE]
