"""The backend's address is read as people write it."""

from __future__ import annotations

import pytest

from rover.errors import BackendError
from rover.reporter.address import Endpoint, endpoints
from rover.reporter.hostip import host_ip


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("localhost:11800", ["localhost:11800"]),
        ("oap", ["oap:11800"]),
        ("10.0.0.1:1", ["10.0.0.1:1"]),
        ("[2001:db8::1]:11801", ["[2001:db8::1]:11801"]),
        ("2001:db8::1", ["[2001:db8::1]:11800"]),
        ("[fe80::1%eth0]:11800", ["[fe80::1%25eth0]:11800"]),
        ("a:1, b:2 ,a:1,", ["a:1", "b:2"]),
        ("dns:///oap:11800", ["oap:11800"]),
        ("unix:///run/oap.sock", ["unix:/run/oap.sock"]),
    ],
)
def test_an_address_is_understood(text, targets):
    assert [endpoint.target for endpoint in endpoints(text)] == targets


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "empty"),
        (" , ", "empty"),
        ("http://oap:12800", "enable_TLS"),
        ("oap:port", "'port'"),
        ("oap:0", "'0'"),
        ("oap:70000", "'70000'"),
        ("oap:1:2", "'1:2'"),
        ("[oap]:1", "no address"),
        ("oap:", "port"),
        ("a b", "no address"),
        ("a/b", "no address"),
    ],
)
def test_what_is_no_address_is_refused_by_name(text, word):
    with pytest.raises(BackendError, match=r"core\.backend\.addr") as refusal:
        endpoints(text)
    assert word in str(refusal.value)


@pytest.mark.parametrize(
    ("host", "local"),
    [("localhost", True), ("127.0.0.3", True), ("::1", True), ("oap", False), ("10.0.0.1", False)],
)
def test_no_proxy_leads_to_the_loopback(host, local):
    assert Endpoint(host, 11800).is_local is local


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "no-such-name.invalid", ""])
def test_the_hosts_own_address_is_never_its_loopback_where_there_is_another(host):
    assert host_ip(Endpoint(host, 11800)) != "127.0.0.1"
