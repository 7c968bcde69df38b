"""YAML within bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.config.document import Section, Sequence
from rover.config.yaml_file import MAX_BYTES, parse, read
from rover.errors import ConfigError


def plain(node):
    """Drop the lines."""
    match node:
        case Section():
            return {name: plain(entry.value) for name, entry in node.entries.items()}
        case Sequence():
            return [plain(item) for item in node.items]
    return node.text


def parsed(text):
    return plain(parse(text, "f.yaml"))


def error_of(text):
    with pytest.raises(ConfigError) as caught:
        parse(text, "f.yaml")
    return str(caught.value)


def test_values_stay_the_text_they_are():
    text = "a: 010\nb: yes\nc: 1:30\nd: '5'\ne: 1.10\nf: 2001-01-01\ng: ~\n"
    assert list(parsed(text).values()) == ["010", "yes", "1:30", "5", "1.10", "2001-01-01", "~"]


def test_lines_count_from_one():
    section = parse("a: 1\n\nb:\n  - x\n  - c: 2\n", "f.yaml")
    assert section.entries["b"].line == 3
    items = section.entries["b"].value.items
    assert [item.line for item in items] == [4, 5]


def test_keys_are_found_without_regard_to_case():
    assert parsed("Enable_TLS: true") == {"enable_tls": "true"}


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n", "~", "null"])
def test_an_empty_file_holds_nothing(text):
    assert parsed(text) == {}


@pytest.mark.parametrize(
    ("text", "is_null"), [("a:", True), ("a: ~", True), ("a: ''", False), ("a: 'null'", False)]
)
def test_a_key_without_a_value_is_told_from_an_empty_text(text, is_null):
    assert parse(text, "f.yaml").entries["a"].value.is_null is is_null


def test_aliases_stand_for_what_they_name():
    assert parsed("a: &x {k: 1}\nb: *x\nc: [*x]") == {
        "a": {"k": "1"},
        "b": {"k": "1"},
        "c": [{"k": "1"}],
    }


def test_merge_keys_yield_to_the_mappings_own():
    text = "a: &a {k: 1, l: 1}\nb: &b {k: 2, m: 2}\nc:\n  <<: [*a, *b]\n  l: 3\n"
    assert parsed(text)["c"] == {"k": "1", "l": "3", "m": "2"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\na: 2", "f.yaml:2: a is given twice, first in line 1"),
        ("a: 1\nA: 2", "f.yaml:2: A is given twice"),
        ("a: [", "f.yaml:1: column 5: not valid YAML"),
        ("a:\n\tb: 1", "f.yaml:2: column 1: not valid YAML"),
        ("a: b: c", "put quotes around"),
        ("a: {{.Pod.Name}}", "put quotes around"),
        ("- a", "f.yaml:1: the file must hold keys"),
        ("text", "the file must hold keys"),
        ("a: 1\n---\nb: 2", "f.yaml:2: a second document"),
        ("a: !!python/object/apply:os.system [x]", "the tag !!python/object/apply:os.system"),
        ("a: !local x", "the tag !local"),
        ("a: *x", "there is no anchor &x"),
        ("a: &x [*x]", "there is no anchor &x"),
        ("a: {<<: 1}", "<< takes a mapping"),
        ("[a]: 1", "a key must be a word"),
        ('a: "\\x01"\nb: \x01', "f.yaml:2: holds a character"),
        ("a: " + "[" * 5000, "nested deeper"),
        ("a: [" + "1," * 30000 + "]", "more than 20000 values"),
    ],
)
def test_what_has_no_place_in_a_configuration_is_refused_with_its_line(text, told):
    assert told in error_of(text)


def test_a_bomb_of_aliases_is_refused_for_what_it_stands_for():
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 12)]
    with pytest.raises(ConfigError, match=r"f\.yaml:[0-9]+: more than 20000 values"):
        parse("l0: &l0 [x]\n" + "\n".join(levels), "f.yaml")


def test_a_file_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "f.yaml").write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert plain(read(tmp_path / "f.yaml")) == {"a": "1"}


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"a: 1\nb: \xff\n", "f.yaml:2: is not UTF-8"), (b"#" * (MAX_BYTES + 1), "larger than")],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path, content, told):
    (tmp_path / "f.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=told):
        read(tmp_path / "f.yaml")


def test_a_file_that_cannot_be_read_is_told_with_the_reason(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: No such file"):
        read(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="Is a directory"):
        read(tmp_path)


@given(st.text(alphabet="ab:-[]{}&*!|>'\"#,\n \t<%@`~?é\x00", max_size=60))
def test_no_text_raises_anything_but_a_config_error(text):
    try:
        parse(text, "f.yaml")
    except ConfigError as error:
        assert str(error).startswith("f.yaml:")  # noqa: PT017 - some texts are fine
