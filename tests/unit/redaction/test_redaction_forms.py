"""A known secret in every form that is supported never comes out, whatever stands around it."""

from __future__ import annotations

import pytest
from command_lines import BEGIN, BY_FORM, BY_NAME, END, FULL, ORDINARY, TITLES
from hypothesis import given, settings
from hypothesis import strategies as st

from rover.redaction import CommandLineTold, Redaction

REDACTION = Redaction()


def told(*arguments: str, by: Redaction = REDACTION) -> str:
    text = "\0".join(arguments).encode()
    return by.arguments(text).replace(b"\0", b" ").decode()


@pytest.mark.parametrize("form", BY_NAME)
@settings(max_examples=40)
@given(data=st.data())
def test_the_value_of_a_name_that_speaks_of_secrets_is_masked(form, data):
    before = data.draw(st.lists(ORDINARY, max_size=4))
    after = data.draw(st.lists(ORDINARY, max_size=4))
    arguments = ["app", *before, *data.draw(BY_NAME[form]), *after]
    shown = told(*arguments)
    assert BEGIN not in shown
    assert END not in shown


@pytest.mark.parametrize("form", BY_FORM)
@settings(max_examples=40)
@given(data=st.data())
def test_a_secret_that_its_form_gives_away_is_masked(form, data):
    arguments = [*data.draw(BY_FORM[form]), *data.draw(st.lists(ORDINARY, max_size=4))]
    shown = told(*arguments)
    assert BEGIN not in shown
    assert END not in shown


@pytest.mark.parametrize("form", TITLES)
@settings(max_examples=40)
@given(data=st.data())
def test_a_title_is_taken_apart_by_blanks(form, data):
    shown = told(data.draw(TITLES[form]))
    assert BEGIN not in shown
    assert END not in shown


@given(st.lists(ORDINARY, min_size=1, max_size=12))
def test_ordinary_command_lines_stay_as_they_are(arguments):
    text = "\0".join(["app", *arguments]).encode()
    assert REDACTION.arguments(text) is text


@given(st.binary(max_size=400))
def test_no_bytes_make_it_raise_and_masking_again_changes_nothing(text):
    masked = REDACTION.arguments(text)
    assert REDACTION.arguments(masked) == masked


SIGNS = st.sampled_from(
    [
        *(
            "password",
            "token=",
            "--password",
            "=",
            ":",
            '"',
            "'",
            "\\",
            " ",
            "{",
            "}",
            "[",
            "]",
            ",",
        ),
        *("://", "@", "mysql", "-p", "Bearer ", "<secret>", "\0", "&", ";", "é", "\xff", "eyJ"),
    ]
)


@given(st.lists(SIGNS, max_size=60).map("".join))
def test_no_mix_of_signs_makes_it_raise(text):
    REDACTION.arguments(text.encode("latin-1"))
    REDACTION.property("password", text)


@given(st.text(FULL), st.text(FULL))
def test_in_full_everything_is_told(one, other):
    text = f"{one}\0--password={other}".encode()
    assert Redaction(CommandLineTold.FULL).arguments(text) is text
