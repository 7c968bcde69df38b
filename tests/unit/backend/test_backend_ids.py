from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.backend.ids import instance_id, process_id, service_id, stored_name
from rover.model import utf16_units

FACE = "\U0001f600"
"""Two UTF-16 units."""


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_the_servers_own_vector_gives_the_servers_id():
    made = process_id("productpage.default", "productpage-v1-abc", "gunicorn")
    assert made == "f2363464d13bcdcd543c377d65cfb45fe41e8ef951ce68a6cf08e9fffadb70e6"


def test_a_service_id_is_the_name_in_base64_and_the_mark_of_a_real_service():
    assert service_id("productpage.default") == "cHJvZHVjdHBhZ2UuZGVmYXVsdA==.1"


def test_an_instance_id_holds_its_services_id():
    assert instance_id("s", "i") == f"{b64('s')}.1_{b64('i')}"


@pytest.mark.parametrize("name", ["a" * 70, "é" * 70, FACE * 35])
def test_a_name_of_70_units_counts_in_full(name):
    assert service_id(name) == f"{b64(name)}.1"


@pytest.mark.parametrize(
    ("name", "counted"),
    [("a" * 71, "a" * 70), ("é" * 80, "é" * 70), (FACE * 36, FACE * 35)],
)
def test_a_longer_name_counts_to_70_units(name, counted):
    assert service_id(name) == service_id(counted)
    assert instance_id("s", name) == instance_id("s", counted)


def test_a_character_that_is_cut_in_two_becomes_a_question_mark():
    assert stored_name("a" * 69 + FACE) == "a" * 69 + "?"
    assert service_id("a" * 69 + FACE) == f"{b64('a' * 69 + '?')}.1"


def test_a_process_name_counts_in_full():
    assert process_id("s", "i", "p" * 71) != process_id("s", "i", "p" * 70)


@pytest.mark.parametrize("blank", ["", " ", "\t\n\x00\x1f "])
def test_a_blank_name_counts_as_blank(blank):
    assert service_id(blank) == f"{b64('_blank')}.1"
    assert instance_id(blank, blank) == f"{b64('_blank')}.1_{b64('_blank')}"
    expected = hashlib.sha256(f"_blank_{instance_id('', '')}".encode()).hexdigest()
    assert process_id(blank, blank, blank) == expected


def test_seventy_blanks_before_a_letter_count_as_blank():
    assert service_id(" " * 70 + "x") == service_id("")


@given(st.text(max_size=200))
def test_a_stored_name_fits_and_is_valid_utf_8(text):
    stored = stored_name(text)
    assert utf16_units(stored) <= 70
    assert stored.encode().decode() == stored
    assert stored_name(stored) == stored


@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=200))
def test_ids_are_those_of_the_formula(service, instance, process):
    def counted(name):
        units = name.encode("utf-16-le")[:140]
        whole = units.decode("utf-16-le", "ignore")
        return whole if whole.encode("utf-16-le") == units else whole + "?"

    def named(name):
        return name if any(ord(character) > 0x20 for character in name) else "_blank"

    expected = f"{b64(named(counted(service)))}.1_{b64(named(counted(instance)))}"
    assert instance_id(service, instance) == expected
    digest = hashlib.sha256(f"{named(process)}_{expected}".encode()).hexdigest()
    assert process_id(service, instance, process) == digest
