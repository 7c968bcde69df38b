"""Which format of figures a client gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.status.accept import wants_openmetrics

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;"
    "q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;"
    "escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
CHROMIUM = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.mark.parametrize(
    "accept",
    [
        PROMETHEUS_2,
        PROMETHEUS_3,
        "Application/OpenMetrics-Text",
        'application/openmetrics-text; version="1.0.0"',
        "application/openmetrics-text, text/plain",
    ],
)
def test_who_names_openmetrics_gets_it(accept: str):
    assert wants_openmetrics(accept)


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        CHROMIUM,
        "text/plain",
        "application/openmetrics-text;q=0",
        "application/openmetrics-text;q=0.2, text/plain;q=0.9",
        "application/openmetrics-text;version=2.0.0",
        "application/openmetrics-text;q=much",
    ],
)
def test_all_others_get_the_older_text(accept: str):
    assert not wants_openmetrics(accept)


@given(st.text(alphabet='applicationopenmetrics-text/;,=q.01" \xff*') | st.text())
def test_any_header_is_read(accept: str):
    assert wants_openmetrics(accept) in {True, False}
