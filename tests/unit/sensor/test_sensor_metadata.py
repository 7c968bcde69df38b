import contextlib
import json
import time

import javaproperties
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.sensor.metadata import (
    MAX_DEPTH,
    MAX_KEY,
    MAX_LABELS,
    MAX_PROPERTIES,
    MAX_VALUE,
    Metadata,
    parse_metadata,
)
from rover.sensor.properties import entries

NAMES = b"layer=GENERAL\nservice_name=shop\ninstance_name=shop-1\nprocess_name=shop-1\n"
GO2SKY = (
    NAMES
    + b'properties={"os_name":"linux","ipv4":"10.0.0.5","processLabels":"mesh,v2"}\n'
    + b"labels=mesh,v2\nlanguage=golang\n"
)


def test_a_file_as_go2sky_writes_it_is_understood():
    assert parse_metadata(GO2SKY) == Metadata(
        layer="GENERAL",
        service="shop",
        instance="shop-1",
        process="shop-1",
        labels=("mesh", "v2"),
        properties=(("os_name", "linux"), ("ipv4", "10.0.0.5"), ("processLabels", "mesh,v2")),
        language="golang",
    )


def test_a_file_as_java_stores_it_is_understood():
    stored = javaproperties.dumps(
        {
            "layer": "GENERAL",
            "service_name": "Läden: =",
            "instance_name": "a b",
            "process_name": "p",
            "properties": '{"path": "C:\\\\x", "quoted": "a \\"b\\""}',
        }
    ).encode("latin-1")
    metadata = parse_metadata(stored)
    assert metadata.service == "Läden: ="
    assert metadata.properties == (("path", "C:\\x"), ("quoted", 'a "b"'))


def test_json_whose_backslashes_were_not_escaped_is_understood():
    metadata = parse_metadata(NAMES + rb'properties={"title":"a \"b\"","less":"\u003c"}')
    assert dict(metadata.properties) == {"title": 'a "b"', "less": "<"}


def test_names_are_utf_8():
    assert parse_metadata(NAMES + "service_name=商店\n".encode()).service == "商店"


@pytest.mark.parametrize("key", ["layer", "service_name", "instance_name", "process_name"])
@pytest.mark.parametrize("value", [None, b"", b"\\u0020\\t"])
def test_each_of_the_four_names_must_be_there(key, value):
    lines = [line for line in NAMES.splitlines() if not line.startswith(key.encode() + b"=")]
    if value is not None:
        lines.append(key.encode() + b"=" + value)
    with pytest.raises(ValueError, match=f"{key} missing or blank"):
        parse_metadata(b"\n".join(lines))


def test_labels_may_stand_in_the_properties_alone():
    metadata = parse_metadata(NAMES + b'properties={"processLabels":" a ,,b "}\n')
    assert metadata.labels == ("a", "b")


def test_labels_are_trimmed_and_empty_ones_dropped():
    assert parse_metadata(NAMES + b"labels= a, ,b ,\n").labels == ("a", "b")


@pytest.mark.parametrize(
    "properties", [b"", b"{", b"[1]", b"null", b"[" * 20_000, b'"text"', b'{"a":']
)
def test_properties_that_are_no_object_cost_nothing_but_themselves(properties):
    metadata = parse_metadata(NAMES + b"properties=" + properties + b"\n")
    assert (metadata.service, metadata.properties) == ("shop", ())


def test_values_that_are_no_text_are_told_as_json():
    metadata = parse_metadata(NAMES + b'properties={"n":1,"b":true,"l":["x"],"e":null}\n')
    assert metadata.properties == (("n", "1"), ("b", "true"), ("l", '["x"]'), ("e", "null"))


def test_half_a_surrogate_pair_becomes_a_character_that_utf_8_has():
    metadata = parse_metadata(
        NAMES + rb"process_name=a\ud83d\ude00\ud800" + b'\nproperties={"k":"\\\\ud800"}'
    )
    assert metadata.process == "a😀�"
    assert metadata.properties == (("k", "�"),)


def test_an_escape_that_is_none_makes_the_file_unreadable():
    with pytest.raises(ValueError, match="escape"):
        parse_metadata(NAMES + rb"labels=\uzz")


@given(st.one_of(st.binary(), st.lists(st.binary()).map(lambda more: NAMES + b"\n".join(more))))
def test_no_content_does_anything_but_parse_or_raise_value_error(content):
    try:
        metadata = parse_metadata(content)
    except ValueError:
        return
    for text in (
        metadata.service,
        *metadata.labels,
        *(part for p in metadata.properties for part in p),
    ):
        text.encode()


@given(
    st.dictionaries(
        st.sampled_from(["service_name", "instance_name", "process_name", "language"]),
        st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zs"]), min_size=1),
        min_size=4,
    ),
    st.dictionaries(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8"))),
)
def test_what_java_stores_comes_back(names, properties):
    stored = {**names, "layer": "GENERAL", "properties": json.dumps(properties)}
    metadata = parse_metadata(javaproperties.dumps(stored).encode("latin-1"))
    assert metadata.service == names["service_name"]
    assert metadata.language == names["language"]
    assert dict(metadata.properties) == properties


def properties_of(value):
    content = NAMES + b"properties=" + value.encode("unicode_escape") + b"\n"
    return dict(parse_metadata(content).properties)


@pytest.mark.parametrize("depth", [2, MAX_DEPTH - 1, MAX_DEPTH, 100, 929, 930, 965, 1000, 20_000])
def test_lists_in_each_other_are_told_or_left_out_at_every_depth(depth):
    value = "[" * depth + "]" * depth
    found = properties_of(f'{{"a":{value},"b":"c"}}')
    assert found == ({"a": value, "b": "c"} if depth < MAX_DEPTH else {})


def test_brackets_in_a_text_are_no_depth():
    assert properties_of('{"a":"' + "[" * 100 + '"}') == {"a": "[" * 100}


def test_too_many_or_too_long_properties_are_left_out_and_the_first_kept():
    many = json.dumps({f"k{number}": "v" for number in range(1000)})
    assert list(properties_of(many)) == [f"k{number}" for number in range(MAX_PROPERTIES)]
    long = json.dumps({"a": "x" * (MAX_VALUE + 1), "b": "c", "k" * (MAX_KEY + 1): "d"})
    assert properties_of(long) == {"b": "c"}
    full = json.dumps({f"k{number}": "x" * MAX_VALUE for number in range(9)})
    assert len(properties_of(full)) == 3


def test_a_name_that_is_no_name_any_more_is_refused():
    with pytest.raises(ValueError, match="process_name longer than 1024"):
        parse_metadata(NAMES + b"process_name=" + b"x" * 1025)


def test_labels_have_a_bound():
    metadata = parse_metadata(NAMES + b"labels=" + b"a," * 10_000 + b"b" * 1000)
    assert len(metadata.labels) == MAX_LABELS


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_whatever_json_the_properties_hold_they_are_read_or_left_out(value):
    for name, text in properties_of(json.dumps({"a": value})).items():
        assert name == "a"
        text.encode()


@given(st.text(st.sampled_from('{}[]":,\\ab1'), max_size=200))
def test_whatever_looks_like_json_is_read_or_left_out(text):
    properties_of(text)


def as_java_reads(text):
    try:
        return [
            (entry.key, entry.value)
            for entry in javaproperties.parse(text)
            if isinstance(entry, javaproperties.reading.KeyValue)
        ]
    except javaproperties.InvalidUEscapeError:
        return ValueError


@given(st.text(st.sampled_from("a:=\\\\ \t\f\n\r#!u0041é"), max_size=60))
def test_the_format_is_read_as_java_does(text):
    try:
        found = [(key, value) for key, value, _ in entries(text)]
    except ValueError:
        found = ValueError
    expected = as_java_reads(text)
    if expected is not ValueError and found is not ValueError:
        expected = [tuple(map(surrogates_apart, pair)) for pair in expected]
        found = [tuple(map(surrogates_apart, pair)) for pair in found]
    nothing = (b"", b"")
    if found is not ValueError:  # a backslash at the end begins a line that never comes
        found = [pair for pair in found if pair != nothing]
        expected = expected if expected is ValueError else [p for p in expected if p != nothing]
    assert found == expected


def surrogates_apart(text):
    return text.encode("utf-16-le", "surrogatepass")


@pytest.mark.parametrize(
    "content",
    [b"\\" * 60_000, b"a=b\n" * 16_000, b"\n" * 60_000, b"\\u0041" * 10_000, b"=" * 60_000,
     b'properties="' + b"\\\\" * 30_000, b"properties=" + b"[" * 60_000, b"\xff" * 60_000],
)  # fmt: skip
def test_no_content_takes_long(content):
    began = time.thread_time()
    with contextlib.suppress(ValueError):
        parse_metadata(NAMES + content)
    assert time.thread_time() - began < 0.2
