"""The variables that lead other programs through a proxy lead the agent as well."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.config.address import Endpoint
from rover.reporter.proxy import Way, proxy_for, way_to

PROXY = "http://proxy:3128"
OAP = Endpoint("oap.example.org", 11800)


@pytest.mark.parametrize(
    "name", ["grpc_proxy", "https_proxy", "http_proxy", "HTTPS_PROXY", "HTTP_PROXY"]
)
def test_a_proxy_is_found_in_either_case(name):
    assert proxy_for(OAP, {name: PROXY}) == PROXY


def test_the_more_particular_variable_wins():
    assert proxy_for(OAP, {"http_proxy": "http://other", "grpc_proxy": PROXY}) == PROXY


@pytest.mark.parametrize(
    ("pattern", "host", "direct"),
    [
        ("*", "oap.example.org", True),
        ("example.org", "oap.example.org", True),
        (".example.org", "oap.example.org", True),
        ("*.example.org", "oap.example.org", True),
        ("oap.example.org:11800", "oap.example.org", True),
        ("oap.example.org:443", "oap.example.org", False),
        ("ample.org", "oap.example.org", False),
        ("OAP.Example.org", "oap.example.org", True),
        ("a, .svc ,b", "oap.skywalking.svc", True),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("fd00::/8", "fd00::1", True),
        ("fd00::/8", "10.1.2.3", False),
        ("", "oap.example.org", False),
        (",", "oap.example.org", False),
    ],
)
def test_no_proxy_exempts(pattern, host, direct):
    for name in ("no_proxy", "NO_PROXY"):
        found = proxy_for(Endpoint(host, 11800), {"https_proxy": PROXY, name: pattern})
        assert found == ("" if direct else PROXY)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_the_loopback_is_always_direct(host):
    assert proxy_for(Endpoint(host, 11800), {"https_proxy": PROXY}) == ""


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("proxy:3128", PROXY),
        ("HTTP://proxy:3128", PROXY),
        ("Http://proxy:3128/", PROXY),
        ("http://proxy", "http://proxy:80"),
        ("proxy", "http://proxy:80"),
        ("http://user:secret@proxy:3128", "http://user:secret@proxy:3128"),
        ("http://[fd00::1]:3128", "http://[fd00::1]:3128"),
    ],
)
def test_a_proxy_over_plain_http_is_understood_however_it_is_written(written, url):
    assert way_to(OAP, {"https_proxy": written}) == Way(url)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("https://user:secret@proxy:3128", "by https://"),
        ("socks5://user:secret@proxy:1080", "by socks5://"),
        ("SOCKS5H://proxy", "by SOCKS5H://"),
        ("http://", "no address of a proxy"),
        ("http://user:secret@proxy:port", "no address of a proxy"),
        ("http://[fd00::1:3128", "no address of a proxy"),
        ("http://a@b@secret:1", "no address of a proxy"),
    ],
)
def test_a_proxy_that_is_not_understood_is_told_without_its_password(written, said):
    way = way_to(OAP, {"HTTPS_PROXY": written})
    assert way.proxy == ""
    (told,) = way.ignored
    assert told.startswith("HTTPS_PROXY: ")
    assert said in told
    assert "dialled directly" in told
    assert "secret" not in told


def test_a_range_that_is_none_is_told():
    way = way_to(OAP, {"https_proxy": PROXY, "NO_PROXY": "10.0.0.0/33,10.0.0.0/8"})
    assert way == Way(PROXY, ("NO_PROXY: '10.0.0.0/33' is no range of addresses",))


def test_nothing_is_told_where_the_way_is_direct_anyway():
    odd = {"https_proxy": "socks5://proxy", "no_proxy": "example.org"}
    assert way_to(OAP, odd) == Way("")
    assert way_to(Endpoint("localhost", 1), odd) == Way("")


@given(st.text())
def test_no_variable_is_a_defect(text):
    way_to(OAP, {"https_proxy": text, "no_proxy": text})


def test_no_variable_means_no_proxy():
    assert proxy_for(OAP, {}) == ""
    assert proxy_for(OAP, {"https_proxy": " "}) == ""
