"""The variables that lead other programs through a proxy lead the agent as well."""

from __future__ import annotations

import pytest

from rover.config.address import Endpoint
from rover.reporter.proxy import proxy_for

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


def test_a_bare_proxy_is_spoken_to_over_http_and_others_are_not_known():
    assert proxy_for(OAP, {"https_proxy": "proxy:3128"}) == PROXY
    assert proxy_for(OAP, {"https_proxy": "socks5://proxy:1080"}) == ""


def test_no_variable_means_no_proxy():
    assert proxy_for(OAP, {}) == ""
    assert proxy_for(OAP, {"https_proxy": " "}) == ""
