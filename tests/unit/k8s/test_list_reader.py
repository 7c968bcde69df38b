"""A list is read item by item, however its bytes arrive."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.k8s import lists
from rover.k8s.lists import ListReader

LIST = {
    "kind": "PodList",
    "apiVersion": "v1",
    "metadata": {"resourceVersion": "7", "continue": "x"},
    "items": [{"name": "ä\u2028€😀", "n": 1.5e3}, {}, [1, [2]], 'a\\"b', 12, None, True],
}


def cut(data: bytes, sizes) -> list[bytes]:
    chunks, at = [], 0
    for size in sizes:
        chunks.append(data[at : at + size])
        at += size
    return [*chunks, data[at:]]


@given(
    st.permutations(list(LIST)),
    st.lists(st.integers(min_value=0, max_value=9), max_size=200),
    st.sampled_from([None, 2]),
    st.booleans(),
)
def test_any_order_of_names_and_any_cut_of_bytes_give_the_same(names, sizes, indent, ascii_only):
    text = json.dumps({name: LIST[name] for name in names}, indent=indent, ensure_ascii=ascii_only)
    reader = ListReader(cut(text.encode(), sizes))
    assert list(reader.items()) == LIST["items"]
    assert reader.metadata == LIST["metadata"]


@pytest.mark.parametrize("text", ["{}", '{"items":[]}', '{"items":null}', ' { "items" : [ ] } '])
def test_a_list_may_be_empty(text):
    assert list(ListReader([text.encode()]).items()) == []


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{", '{"items"', '{"items":', '{"items":[', '{"items":[{}', '{"items":[{},',
     '{"items":[{}]', '{"items":[{}]],', '{"items":[{} {}]}', '{"a":}', '{"a":1 "b":2}',
     '{"items":[' + "[" * 100_000],
)  # fmt: skip
def test_what_is_no_whole_list_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        list(ListReader([text.encode()]).items())


@given(st.binary(max_size=50))
def test_no_bytes_do_worse_than_be_refused(data):
    with contextlib.suppress(ValueError):
        list(ListReader([data]).items())


def test_a_value_without_end_is_refused_before_it_fills_the_memory(monkeypatch):
    monkeypatch.setattr(lists, "MAX_VALUE", 10_000)
    with pytest.raises(ValueError, match="longer than"):
        list(ListReader(b'{"items":["' if n == 0 else b"x" * 100 for n in range(10**6)).items())


def test_items_are_handed_out_before_the_list_has_ended():
    def chunks():
        yield b'{"items":[{"n":1},'
        yield b'{"n":2},'
        raise AssertionError("asked for more than was needed")

    items = ListReader(chunks()).items()
    assert [next(items), next(items)] == [{"n": 1}, {"n": 2}]
