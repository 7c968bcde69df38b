"""Text fits a terminal by its cells; the judge is another library's table of widths."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcwidth import wcwidth

from rover.cli.cells import CUT, LEAST, cell_count, cut, filled, padded
from rover.printable import MOST_MARKS, REPLACED, printable

WIDE = "漢字カナ한글🐍🚀"
MARKS = "\u0301\u0308\u20dd\u0e33\u093f"
anything = st.text(max_size=120)
names = st.text(st.one_of(st.sampled_from(f"ab {WIDE}{MARKS}"), st.characters()), max_size=60)


def cells_on_a_terminal(text: str) -> int:
    widths = [wcwidth(letter) for letter in text]
    assert min(widths, default=0) >= 0, "a control character"
    return sum(widths)


@given(names.map(printable))
def test_a_text_takes_as_many_cells_as_are_counted(text: str):
    assert cells_on_a_terminal(text) == cell_count(text)


@given(names.map(printable), st.integers(1, 40))
def test_a_text_is_cut_to_its_room(text: str, room: int):
    assert cells_on_a_terminal(cut(text, room)) <= room
    assert cells_on_a_terminal(padded(text, room)) == room


@given(names.map(printable), st.integers(1, 40))
def test_what_is_kept_of_a_cut_text_is_whole_letters_with_their_marks(text: str, room: int):
    shown = cut(text, room)
    if shown != text:
        kept = shown.removesuffix(CUT)
        assert text.startswith(kept)
        assert cell_count(text[len(kept)]) > 0
        assert room - cell_count(shown) < 2


@given(names, names, st.integers(LEAST, 120), st.integers(0, 30))
def test_no_line_is_wider_than_its_terminal(begin: str, text: str, width: int, hanging: int):
    lines = filled(begin, text, width, hanging)
    assert all(cells_on_a_terminal(line) <= width for line in lines)


@given(names, st.integers(LEAST, 120), st.integers(0, 30))
def test_nothing_is_lost_where_lines_are_broken(text: str, width: int, hanging: int):
    shown = "".join(filled("", text, width, hanging))
    assert shown.replace(" ", "") == printable(text).replace(" ", "")


def test_lines_break_at_blanks_and_long_words_where_they_must():
    text = "漢字 is two letters, and 漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字 has no blank"
    assert filled("about   ", text, 32, 8) == [
        "about   漢字 is two letters, and",
        "        漢字漢字漢字漢字漢字漢字",
        "        漢字漢字漢字漢字漢字 has",
        "        no blank",
    ]


def test_where_a_label_leaves_little_room_text_begins_below_it():
    assert filled("command     ", "java -jar app.jar", 20, 12) == ["command", "  java -jar app.jar"]
    assert filled("state       ", "well", 20, 12) == ["state       well"]


@given(anything)
def test_nothing_that_moves_the_cursor_or_turns_its_direction_is_shown(text: str):
    for letter in printable(text):
        assert letter == " " or unicodedata.category(letter)[0] not in "CZ"


@pytest.mark.parametrize(
    "sly",
    [
        "a\x1b[2Jb", "a\x9b2Jb", "a\rb", "a\nb", "a\u202eb", "a\u2066b", "a\u200fb", "a\u200bb",
        "a\ufeffb", "a\u2028b", "a\u3164b", "a\u034fb", "a\U000e0100b", "a\u00adb", "a\udc80b",
    ],
)  # fmt: skip
def test_what_is_not_seen_or_acts_is_shown_as_such(sly: str):
    assert printable(sly).startswith(f"a{REPLACED}")
    assert printable(sly).endswith("b")


def test_marks_do_not_climb_over_the_lines_above():
    assert printable("e" + "\u0301" * 500) == "e" + "\u0301" * MOST_MARKS


def test_how_a_picture_is_drawn_is_left_out():
    assert printable("\u2764\ufe0f \U0001f44d\U0001f3fd") == "\u2764 \U0001f44d"
