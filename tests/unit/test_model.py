"""What the backend makes of text, told by the plain definitions of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.model import is_blank, utf16_prefix, utf16_units

TEXT = st.text(st.sampled_from("a\x00 \u00e9\uffff\U0001f600\U0010ffff\ud800"), max_size=100)


@pytest.mark.parametrize("name", ["", " ", "\t\n\x00\x1f "])
def test_a_name_without_anything_above_u_0020_is_blank(name):
    assert is_blank(name)


@pytest.mark.parametrize("name", ["\x7f", "\u00a0", "\u3000", "x ", "\x00!"])
def test_what_stands_above_u_0020_is_a_name(name):
    assert not is_blank(name)


@given(TEXT | st.text())
def test_units_are_those_of_utf_16(text):
    assert utf16_units(text) == sum(2 if character > "\uffff" else 1 for character in text)


@given(TEXT, st.integers(0, 120))
def test_a_prefix_is_the_longest_that_fits_and_cuts_no_character_in_two(text, units):
    cut = utf16_prefix(text, units)
    assert text.startswith(cut)
    assert utf16_units(cut) <= units
    assert cut == text or utf16_units(text[: len(cut) + 1]) > units
