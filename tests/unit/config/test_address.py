"""Addresses are read as people write them."""

from __future__ import annotations

import re

import pytest

from rover.config.address import Endpoint, endpoints, host_name, listener
from rover.reporter.host_ip import host_ip


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
        ("my_oap-1.prod.:1", ["my_oap-1.prod.:1"]),
        ("3com.example:1", ["3com.example:1"]),
        ("büro.example:1", ["büro.example:1"]),
        ("255.255.255.255", ["255.255.255.255:11800"]),
    ],
)
def test_an_address_is_understood(text, targets):
    assert [endpoint.target for endpoint in endpoints(text)] == targets


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "host:port"),
        (" , ", "host:port"),
        ("http://oap:12800", "enable_TLS"),
        ("oap:port", "'port'"),
        ("oap:0", "'0'"),
        ("oap:70000", "'70000'"),
        ("oap:1:2", "'1:2'"),
        ("[oap]:1", "no address"),
        ("oap:", "port"),
        ("a b", "no address"),
        ("a/b", "no address"),
        ("$OAP_HOST:11800", "holds '$OAP_HOST', which nobody replaces; write ${OAP_HOST:default}"),
        ("${OAP_HOST}:11800", "write ${OAP_HOST:default}"),
        ("unix:$RUN/oap.sock", "write ${RUN:default}"),
        ("a:1,$B:1", "'$B:1' holds '$B'"),
        ("10.0.0.300", "'10.0.0.300' is no IPv4 address"),
        ("10.0.0.300:11800", "no IPv4 address"),
        ("10.0.0:11800", "no IPv4 address"),
        ("10.0.0.0.1:11800", "no IPv4 address"),
        ("1234:11800", "no IPv4 address"),
        ("0x7f000001:1", "no IPv4 address"),
        ("010.0.0.1:1", "no IPv4 address"),
        ("oap..svc:1", "no name of a host"),
        (".oap:1", "no name of a host"),
        ("<oap>:1", "no name of a host"),
        ("user@oap:1", "no name of a host"),
        ("x" * 64 + ":1", "no name of a host"),
    ],
)
def test_what_is_no_address_is_refused_by_name(text, word):
    with pytest.raises(ValueError, match=re.escape(word)):
        endpoints(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":9090", ("", 9090)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("[::1]:65535", ("::1", 65535)),
        ("localhost:80", ("localhost", 80)),
    ],
)
def test_where_to_listen_is_understood(text, address):
    assert listener(text) == address


@pytest.mark.parametrize(
    "text", ["9090", ":", ":²", ":65536", ":-1", "::1:80", "[x]:80", "a b:80", ""]
)
def test_what_cannot_be_listened_on_is_refused(text):
    with pytest.raises(ValueError, match=r"HOST:PORT|port"):
        listener(text)


@pytest.mark.parametrize(
    ("host", "local"),
    [("localhost", True), ("127.0.0.3", True), ("::1", True), ("oap", False), ("10.0.0.1", False)],
)
def test_no_proxy_leads_to_the_loopback(host, local):
    assert Endpoint(host, 11800).is_local is local


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "no-such-name.invalid", ""])
def test_the_hosts_own_address_is_never_its_loopback_where_there_is_another(host):
    assert host_ip(Endpoint(host, 11800)) != "127.0.0.1"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("node1", "node1"),
        ("Metrics.Example.ORG.", "metrics.example.org"),
        ("*.rover.svc", "*.rover.svc"),
        ("a_b-c.x", "a_b-c.x"),
    ],
)
def test_a_name_of_a_host_is_read(text, name):
    assert host_name(text) == name


@pytest.mark.parametrize(
    "text", ["*", "a:1", "http://a", "a/b", "", "*.*.a", "a..b", "a*", "é", "a b"]
)
def test_what_is_no_name_of_a_host_is_refused(text):
    with pytest.raises(ValueError, match="without a port"):
        host_name(text)
