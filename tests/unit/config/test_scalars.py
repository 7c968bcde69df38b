"""Booleans, numbers and durations as Go reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.config.scalars import format_duration, parse_boolean, parse_count, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20s", 20),
        ("1m30s", 90),
        ("300ms", 0.3),
        ("1h15m30.918s", 4530.918),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("5.s", 5),
        ("10us", 1e-5),
        ("10µs", 1e-5),
        ("10μs", 1e-5),
        ("100ns", 1e-7),
        ("-1m", -60),
        ("+5s", 5),
        ("0", 0),
        ("5", 5),
        ("0.25", 0.25),
        (" 7s ", 7),
        ("1m1m", 120),
    ],
)
def test_durations_are_read_as_go_writes_them(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        *("", "s", "20 s", "20sec", "1d", "1,5s", "--1s", "1s-1s", "1e3s", "1e3", "NaN", "inf"),
        *("0x10", "300years", "9999999999h", "99999999999", "٣s"),
    ],
)
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@given(st.integers(0, 10**9).map(lambda milliseconds: milliseconds / 1000))
def test_a_written_duration_reads_as_the_same(seconds):
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, abs=1e-3)


@pytest.mark.parametrize(
    ("seconds", "text"), [(20, "20s"), (90, "1m30s"), (0.1, "100ms"), (0, "0s"), (7200, "2h")]
)
def test_a_duration_is_written_in_its_largest_units(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize("text", ["1", "t", "T", "true", "TRUE", "True", " true "])
def test_go_takes_these_for_true(text):
    assert parse_boolean(text) is True


@pytest.mark.parametrize("text", ["0", "f", "F", "false", "FALSE", "False", ""])
def test_go_takes_these_for_false(text):
    assert parse_boolean(text) is False


@pytest.mark.parametrize("text", ["yes", "no", "on", "off", "tRUE", "y", "2", "truee"])
def test_nothing_else_is_a_boolean(text):
    with pytest.raises(ValueError, match="true or false"):
        parse_boolean(text)


@pytest.mark.parametrize(("text", "value"), [("yes", True), ("Off", False), ("ON", True)])
def test_yaml_words_count_where_they_stand_unquoted_in_a_file(text, value):
    assert parse_boolean(text, yaml=True) is value


@pytest.mark.parametrize(
    ("text", "number"), [("10", 10), ("-3", -3), ("0x10", 16), ("0o17", 15), ("1_000", 1000)]
)
def test_whole_numbers_are_read(text, number):
    assert parse_count(text) == number


@pytest.mark.parametrize("text", ["", "ten", "1.5", "10s", "1e3", "99999999999999"])
def test_what_is_no_whole_number_is_refused(text):
    with pytest.raises(ValueError, match="number"):
        parse_count(text)


@given(st.text())
def test_no_text_raises_anything_but_a_value_error(text):
    for parse in (parse_duration, parse_boolean, parse_count):
        try:
            parse(text)
        except ValueError as error:
            assert str(error)  # noqa: PT017 - some texts are fine
