from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from rover.backend.limits import is_longer, labels_units, properties_units
from rover.model import utf16_units


@given(st.text(max_size=300), st.integers(0, 300))
def test_the_cheap_comparison_agrees_with_the_count(text, units):
    assert is_longer(text, units) == (utf16_units(text) > units)


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=40), max_size=5))
def test_short_properties_are_never_counted_as_too_long(properties):
    assert properties_units(properties) <= 50_000


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_labels_are_counted_as_compact_json_with_html_escapes(labels):
    text = json.dumps(labels, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&='\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    assert labels_units(tuple(labels)) == len(text.encode("utf-16-le")) // 2
