"""Regular expressions: what Go's engine takes, and in linear time."""

import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.config.patterns import compile_pattern

POSIX = {
    "alnum": string.ascii_letters + string.digits,
    "alpha": string.ascii_letters,
    "ascii": "".join(map(chr, range(128))),
    "blank": " \t",
    "cntrl": "".join(map(chr, [*range(32), 127])),
    "digit": string.digits,
    "graph": "".join(map(chr, range(33, 127))),
    "lower": string.ascii_lowercase,
    "print": "".join(map(chr, range(32, 127))),
    "punct": string.punctuation,
    "space": " \t\n\v\f\r",
    "upper": string.ascii_uppercase,
    "word": string.ascii_letters + string.digits + "_",
    "xdigit": string.hexdigits,
}


@pytest.mark.parametrize(
    ("source", "text", "groups"),
    [
        ("^nginx", "nginx -g", ()),
        (r"java .*-jar (\S+)\.jar", "java -x -jar app.jar", ("app",)),
        (r"(?P<name>a+)", "caab", ("aa",)),
        (r"(?<name>a+)", "caab", ("aa",)),
        (r"(?i)NGINX", "nginx", ()),
        (r"a(?i)B|c", "aB", ()),
        (r"a(?i)B|c", "C", ()),
        (r"a(?i:B)c", "abc", ()),
        (r"(?i)a(?-i)b", "Ab", ()),
        (r"(a(?i)b)C", "aBC", ("aB",)),
        (r"x\z", "x", ()),
        (r"\Qa.b*\E+", "a.b**", ()),
        (r"\Qa.b", "a.b", ()),
        (r"\x{41}\x42\103", "ABC", ()),
        (r"\x{1F600}", "😀", ()),
        (r"[\x{41}-C]", "B", ()),
        (r"a{2}b{1,}c{0,2}", "aabbc", ()),
        (r"a{,2}", "a{,2}", ()),
        (r"{}", "{}", ()),
        (r"[[:alpha:]_]+", "ab_", ()),
        (r"[^[:^digit:]]+", "12", ()),
        (r"[]a]+", "]a", ()),
        (r"[^]a]", "b", ()),
        (r"[a[b]", "[", ()),
        (r"[a&&b]", "&", ()),
        (r"[a||b~~]", "~", ()),
        (r"[-a]", "-", ()),
        (r"[a-]", "-", ()),
        (r"[a\-z]", "-", ()),
        (r"[\]\\]+", "\\]", ()),
        (r"[\d.]+", "1.2", ()),
        (r"(?m)^b$", "a\nb\nc", ()),
        (r"(?s)a.b", "a\nb", ()),
        (r"^(a|b)*?c", "abc", ("b",)),
        (r"a\.b\/c\-d\_e", "a.b/c-d_e", ()),
    ],
)
def test_an_expression_matches_as_in_go(source, text, groups):
    match = compile_pattern(source).search(text)
    assert match is not None
    assert match.groups() == groups


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (r"a(?i)B|c", "AB"),
        (r"(a(?i)b)C", "aBc"),
        (r"(?i)a(?-i)b", "aB"),
        (r"x\z", "x\n"),
        (r"^\d$", "٣"),
        (r"^\w$", "é"),
        (r"[[:alpha:]]", "é1"),
        (r"a{,2}$", "aa"),
        (r"x$", "x\n"),
        (r"[[:^alpha:]]", "abc"),
    ],
)
def test_an_expression_does_not_match_where_go_has_no_match(source, text):
    assert compile_pattern(source).search(text) is None


@pytest.mark.parametrize(
    "source", [r"^nginx: (?P<what>\w+)$", r"[a-z_.-]+", r"^/opt/[^/]+/bin/java( |$)", r"(?i)a{2,}"]
)
def test_an_expression_that_means_the_same_is_shown_as_it_was_written(source):
    assert compile_pattern(source).pattern == source


@pytest.mark.parametrize("name", POSIX)
def test_posix_classes_hold_what_go_has_in_them(name):
    everything = [chr(code) for code in range(300)]
    inside = compile_pattern(f"[[:{name}:]]")
    outside = compile_pattern(f"[[:^{name}:]]")
    assert {c for c in everything if inside.fullmatch(c)} == set(POSIX[name])
    assert {c for c in everything if outside.fullmatch(c)} == set(everything) - set(POSIX[name])


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (r"\C", "by characters"),
        ("(", r"missing \)"),
        ("a**", "bad repetition"),
        ("*", "repetition"),
        ("[a", r"missing \]"),
        ("[a--b]", "class range"),
        ("[[:nope:]]", "character class"),
        ("a{1001}", "repetition"),
        ("a{2,1}", "repetition"),
        (r"\x{110000}", "escape"),
        ("(?=a)", "perl operator"),
        (r"(a)\1", "escape"),
        ("a" * 5000, "longer"),
        (")", "unexpected"),
        ("\\", "trailing"),
    ],
)
def test_what_cannot_be_meant_or_had_is_refused_with_a_reason(source, told):
    with pytest.raises(ValueError, match=f"(?i){told}"):
        compile_pattern(source)


def test_no_command_line_makes_an_expression_slow():
    began = time.thread_time()
    assert compile_pattern("(a+)+b").search("a" * 60_000) is None
    # an engine that backtracks would not end at all
    assert time.thread_time() - began < 5


@given(st.text(alphabet="ab[](){}?*+|^$\\.-:,1sizQEPp<=!&~é"))
def test_no_source_raises_anything_but_a_value_error(source):
    try:
        compile_pattern(source).search("aab")
    except ValueError as error:
        assert str(error)  # noqa: PT017 - some sources are fine


@given(st.text())
def test_quoted_text_matches_itself(text):
    quoted = "".join(rf"\x{{{ord(character):x}}}" for character in text)[:4000]
    if quoted.count("{") == len(text):
        assert compile_pattern(quoted).fullmatch(text)
