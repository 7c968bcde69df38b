"""Texts are cut to what the server stores."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.backend.limits import labels_units
from rover.model import LABEL_LIMIT, LABELS_LIMIT, NAME_LIMIT
from rover.reporter import limits

ANYTHING = st.text(st.characters(), max_size=200)
"""Any code point, lone surrogates among them."""
DIFFICULT = st.text(st.sampled_from("a\x00\n\"\\<=&'é\u2028\U0001f600\ud800"), max_size=200)


def utf16(text):
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def gson(text):
    """The server's JSON of a text: HTML-safe escapes, everything else as it stands."""
    written = json.dumps(text, ensure_ascii=False)
    for character in "<>&='\u2028\u2029":
        written = written.replace(character, f"\\u{ord(character):04x}")
    return written


@given(ANYTHING | DIFFICULT)
def test_what_is_cleaned_is_utf8(text):
    assert len(limits.clean(text).encode().decode()) == len(text)


@given(st.text(st.sampled_from("a\U0001f600\ud83d\ude00"), min_size=200, max_size=700))
def test_a_name_never_exceeds_its_limit_and_is_a_prefix(text):
    cut = limits.name(text)
    assert utf16(cut) <= NAME_LIMIT
    assert limits.clean(text).startswith(cut)


@given(ANYTHING | DIFFICULT)
def test_json_units_are_never_fewer_than_the_server_counts(text):
    text = limits.clean(text)
    assert limits.json_units(text) >= utf16(gson(text)) - 2


@given(ANYTHING | DIFFICULT, st.integers(0, 400))
def test_a_prefix_fits_and_is_the_longest_that_does(text, units):
    cut = limits.json_prefix(text, units)
    assert text.startswith(cut)
    assert limits.json_units(cut) <= units
    if cut != text:
        assert limits.json_units(text[: len(cut) + 1]) > units


@given(st.lists(ANYTHING | DIFFICULT, max_size=40).map(tuple))
def test_labels_fit_each_and_together(texts):
    kept = limits.labels(texts)
    assert all(utf16(label) <= LABEL_LIMIT for label in kept)
    assert labels_units(kept) <= LABELS_LIMIT
    assert len(kept) <= len(texts)


def test_labels_that_fit_are_left_alone():
    assert limits.labels(("mesh-envoy", "k8s-service")) == ("mesh-envoy", "k8s-service")


@pytest.mark.timeout(5)
def test_two_megabytes_are_cut_quickly():
    assert len(limits.json_prefix("=" * 2_000_000, 48_000)) == 8_000
