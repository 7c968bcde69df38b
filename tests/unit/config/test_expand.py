"""``${NAME:default}`` in values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.config.expand import expand

SET = {"A": "one", "B": "two", "EMPTY": "", "BRACES": "${A:x}"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${A:x}", "one"),
        ("${UNSET:x}", "x"),
        ("${EMPTY:x}", "x"),
        ("${UNSET:}", ""),
        ("${UNSET:localhost:11800}", "localhost:11800"),
        ("${UNSET:{{.Pod.Name}}}", "{{.Pod.Name}}"),
        ('${UNSET:{{.Pod.LabelValue "a" ""}}.{{.Pod.Namespace}}}', None),
        ('${UNSET:{{.Pod.Namespace}}::{{.Pod.LabelValue "a,b" }}}', None),
        ('${UNSET:{{print "}"}}}', '{{print "}"}}'),
        ('${UNSET:{{print "\\"}"}}}', '{{print "\\"}"}}'),
        ("${UNSET:{{print `}`}}}", "{{print `}`}}"),
        ("${UNSET:a{b}", "a{b"),
        ("${UNSET:a}b}", "a}b"),
        ("${UNSET:^x{2,3}$}", "^x{2,3}$"),
        ("${UNSET:it's {a}}", "it's {a}"),
        ("before ${A:x} after", "before one after"),
        ("${UNSET:x}.{{.Pod.Namespace}}", "x.{{.Pod.Namespace}}"),
        ("${A:x}-${UNSET:y}-${B:z}", "one-y-two"),
        ("${UNSET:${A:x}}", "one"),
        ("${UNSET:${UNSET:y}}", "y"),
        ("${UNSET:${A:x}-${UNSET:{y}}}", "one-{y}"),
        ("${BRACES:x}", "${A:x}"),
        ("${A}", "${A}"),
        ("${lower:x}", "${lower:x}"),
        ("${A-B:x}", "${A-B:x}"),
        ("$A ${ A:x}", "$A ${ A:x}"),
        ("${A:x", "${A:x"),
        ("${:x}", "${:x}"),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_a_value_stands_for_what_its_variables_say(text, result):
    assert expand(text, SET).text == (text[8:-1] if result is None else result)


def test_variables_that_are_set_are_told():
    assert expand("${A:x}${UNSET:y}${B:z}", SET).variables == ("A", "B")


@pytest.mark.parametrize(
    ("text", "is_default"),
    [("${UNSET:x}", True), ("${A:x}", False), ("${UNSET:x}y", False), ("x", False)],
)
def test_it_is_known_whether_a_whole_value_is_a_default(text, is_default):
    assert expand(text, SET).is_default is is_default


def test_names_without_a_default_are_told():
    assert expand("${A} ${B:x} ${C_1}", SET).without_default == ("A", "C_1")


@given(st.text(alphabet='${}:AB_x"`\\ '))
def test_no_text_raises(text):
    expand(text, SET)


@given(st.text(alphabet="abc:.{}\"' ", max_size=20).filter(lambda text: text.count("{") == 0))
def test_a_default_alone_in_its_value_comes_back_whole(default):
    assert expand(f"${{UNSET:{default}}}", {}).text == default


def test_deep_nesting_ends():
    assert expand("${X:" * 500 + "}" * 500, {}).text.startswith("${X:")
